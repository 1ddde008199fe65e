"""Runs the product's deciders in a seeded world: virtual time, network, disks and etcd, with checkers outside of the
product.

One seed is one history, replayed exactly. The world carries out effects in the order of the real performers.
"""
