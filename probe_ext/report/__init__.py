"""The post-run module: a run directory in, a verdict, short texts and one offline page out. Never loads Locust."""
