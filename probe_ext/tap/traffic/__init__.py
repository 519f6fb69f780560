"""What a request asks for and how it was answered, without keeping its text."""
