"""How a swarm behaves at size and over time: what `make scale` and `make soak` measure."""
