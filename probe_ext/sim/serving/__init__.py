"""The engine on real time: open requests, their pacing, faults and the truth log."""
