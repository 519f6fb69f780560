"""A run in virtual time: users, the server's engine, and the rows that they leave."""
