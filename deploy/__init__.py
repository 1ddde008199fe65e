"""Starts the roles as Ray actors or as a local cluster. The only package that imports ray.

local/: `shoal up` and the demo: etcd as a child process, readiness, the terminal. ray/: the Ray cluster, the actors
that host roles, builds as Ray tasks. processes/: ports, log files and child processes, used by both. logic/: pure
decisions on supervision and on the places of builds. At the root: settings, the data folder, plans (processes to
start), reports (states of these processes) and supervise.py, which keeps the planned processes running.
"""
