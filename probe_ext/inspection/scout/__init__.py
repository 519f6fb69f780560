"""What are these servers, how fast are they side by side, and does one of them cheat?"""
