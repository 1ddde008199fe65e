"""The roof: starts the roles as Ray actors or as a local cluster. The only package that imports ray.

local/: `shoal up` and the demo: etcd as a child process, readiness, the terminal. ray/: the Ray cluster, the actors
that host roles, builds as Ray tasks. processes/: what both need of Linux: ports, log files, children. logic/: pure
decisions on supervision and on the places of builds. At the root: settings, the data folder, plans (what to start),
reports (what a host tells) and supervise.py, which keeps planned roles running.
"""
