"""What all recorded requests have in common, in bounded memory, and what follows from it."""
