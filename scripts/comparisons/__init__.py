"""How often does a comparison say something wrong, and how long does it take to tell?"""
