"""What the coordinator decides, as pure functions: plain values in, plain values out.

Refuses clocks, randomness and effects.
"""
