"""How a recording is shown: on the terminal and as a page."""
