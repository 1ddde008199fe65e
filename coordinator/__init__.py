"""The coordinator: owns the wanted state of collections, their placement, and failover. It reads no vectors and is not
part of any search.

shoal.store.observe keeps a map of the store. logic turns a snapshot of the map into steps. act carries out each step as
one compare-and-swap. election decides whether this coordinator leads. loop runs the rounds. administer and service
answer the routers.
"""
