"""The ruler held against the truth, and its cost beside a bare C reader: `make bench`."""
