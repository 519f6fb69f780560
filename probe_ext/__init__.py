"""How many people at once does a self-hosted LLM server keep feeling served?"""
