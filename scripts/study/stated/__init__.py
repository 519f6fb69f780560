"""Servers whose served share at each number of users is stated by a formula."""
