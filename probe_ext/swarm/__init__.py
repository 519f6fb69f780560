"""The Locust side: users, events, the wire between workers and master, the end of a run. Only here is Locust loaded."""
