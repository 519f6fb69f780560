"""What the four APIs say: request bodies, events, usage, errors and finish reasons."""
