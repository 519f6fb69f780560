"""When to ask: how many users there are, or at which rate requests arrive, at each moment."""
