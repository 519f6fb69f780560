"""A workload made from a recording: kinds of user, their distributions, and how well each fits."""
