"""What proxies and gateways do to streams: `python -m scripts.gateways` measures it and writes docs/gateways.md."""
