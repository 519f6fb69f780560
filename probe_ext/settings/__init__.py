"""What the user asked for, read, checked and frozen."""
