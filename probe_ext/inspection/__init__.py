"""Short looks at a server, without Locust: is it fit for a load test, is it warm, what is it?"""
