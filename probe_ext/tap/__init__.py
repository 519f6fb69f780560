"""`probe tap`: a recording proxy in front of a server, and workloads made from its recordings."""
