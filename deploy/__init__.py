"""The roof: starts the roles as Ray actors, a local cluster, the demo. The only package that imports ray."""
