"""The HTTP client: one HTTP/1.1 connection per user, kernel receive times, SSE and OpenAI's bodies and events."""
