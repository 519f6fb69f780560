"""A buyer's report on one card as a coding assistant: what a review measured on it, measured again on `probe sim`."""
