"""Images, Compose and Kubernetes: does what they start work?"""
