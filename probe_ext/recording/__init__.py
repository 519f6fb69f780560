"""A recording of real traffic: what `probe tap` writes, and what workloads and replays are made from."""
