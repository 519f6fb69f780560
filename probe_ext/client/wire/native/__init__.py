"""The native path: which sockets are read in C, and how does Python take what arrived?"""
