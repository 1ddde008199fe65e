"""The decisions of the coordinator, as pure functions: plain values in, plain values out.

No clock, no randomness, no effects.
"""
