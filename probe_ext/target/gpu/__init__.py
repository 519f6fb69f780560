"""What the server's GPUs say about themselves, through an exporter beside the server."""
