"""The product's deciders in a seeded world: virtual time, network, disks and etcd, with checkers outside of the
product.

One seed is one history, replayed exactly. What the world performs keeps the order of effects of the real performers.
"""
