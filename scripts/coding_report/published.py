"""The review's figures: Qwen2.5-7B-Instruct AWQ under vLLM 0.11.0 on an RTX 5060 Ti with 16 GB. Seconds, tokens/s."""

TOKENS_PER_S = {"chat": 78.51, "function": 78.91, "file": 78.75, "review": 78.72}
TIMES = {"function": (300, 3.80), "file": (800, 10.16)}
"""Tokens and seconds of a whole reply. The review's own code review ended after 306 tokens, in 3.89 s."""
BETWEEN_TASKS = 0.005
TTFT = {(20, 0): (0.02131, 0.01895), (45, 26): (0.02022, 0.01971), (75, 56): (0.02147, 0.02000)}
"""Mean and minimum, by our prompt for it: tokens, and how many are the same in all prompts."""
TWO_EACH, TWO_TOTAL, TWO_SECONDS = (76.80, 76.15), 152.14, (1.30, 1.31)
COST_PER_TOKEN_PER_S = 5.06
AT_ONCE = "2 to 4"
"""developers whom it recommends the card for; it measured 1 and 2"""
FITTED = {
    "alone": "memory_bandwidth",
    "ttft": "frontend_s",
}
"""parameters of the simulated card, each fitted to one figure of the review"""
