"""A simulated vLLM-like server that knows the exact time of every token: the ground truth for checking measurements.

It shares no code with the rest of the package.

* ``engine``: vLLM's scheduler and KV cache on virtual time, without clock or I/O
* ``metrics``: vLLM's Prometheus series
* ``protocol``: requests and responses as OpenAI's API and vLLM define them
* ``serving``: the engine on real time, open streams, faults and the truth log
* ``api``: the HTTP routes

``sim_command`` is `probe sim`; ``calibration_server`` is the separate, minimal target of `probe calibrate`.
"""
