"""The router: takes calls on the public port, asks the workers, merges what they answer.

Owns nothing but a cached cluster map.
"""
