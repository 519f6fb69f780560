"""Bytes on the wire: connections, TLS, receive times, and the frames of HTTP and server-sent events."""
