"""What is better, worse, or cannot be told, between set-ups that were measured alike?"""
