"""The coordinator: owns intent. Collections, placement, failover. Refuses to touch a vector or to sit on the query
path.

shoal.store.observe folds the store into a map; logic turns a snapshot of it into steps; act carries each out as one
compare-and-swap; election says whether this coordinator may; loop goes round; administer and service answer the
routers.
"""
