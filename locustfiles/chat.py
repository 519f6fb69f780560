"""Chat users who pause: several turns in one growing conversation, with 1 to 3 s to read and think in between.

probe run chat --host http://127.0.0.1:8000 --levels 2,4,8 --input-tokens 60
locust -f locustfiles/chat.py --host http://127.0.0.1:8000 --processes 2
"""

from locust import between, task

from probe_ext import StreamingUser

TURNS = 4
SYSTEM_TOKENS = 50


class ChatUser(StreamingUser):
    """All conversations share a system prompt; the questions are different."""

    wait_time = between(1, 3)

    @task
    def converse(self) -> None:
        """One conversation of TURNS questions, --input-tokens each."""
        chat = self.prompts.chat(system_tokens=SYSTEM_TOKENS)
        for _ in range(TURNS):
            reply = self.llm.chat(chat.ask())
            if not reply.ok:
                return
            chat.answered(reply.text, reply.tokens_in, reply.tokens_out)
            self.wait()
