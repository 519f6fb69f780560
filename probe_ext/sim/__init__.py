"""A simulated vLLM-like server whose every token has a known time: the truth that measurements are checked against.

Shares no code with the rest of the package. ``engine`` is vLLM's scheduler on virtual time, ``pacer`` puts it on real
time, ``server`` is its HTTP face, ``command`` its command line.
"""
