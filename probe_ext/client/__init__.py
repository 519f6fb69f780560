"""How to ask: one HTTP/1.1 connection a user, the kernel's receive times, SSE, OpenAI's bodies and events."""
