"""People who chat: several turns on one growing conversation, with time to read and think between them.

probe run chat --host http://127.0.0.1:8000 --levels 2,4,8 --input-tokens 60
locust -f locustfiles/chat.py --host http://127.0.0.1:8000 --processes 2
"""

from locust import between, task

from probe_ext import StreamingUser

TURNS = 4
SYSTEM_TOKENS = 50


class ChatUser(StreamingUser):
    """Every conversation starts with the same system prompt; its questions are new."""

    wait_time = between(1, 3)

    @task
    def converse(self) -> None:
        """One conversation of TURNS questions of --input-tokens tokens each."""
        chat = self.prompts.chat(system_tokens=SYSTEM_TOKENS)
        for _ in range(TURNS):
            reply = self.llm.chat(chat.ask())
            if not reply.ok:
                return
            chat.answered(reply.text, reply.tokens_in, reply.tokens_out)
            self.wait()
