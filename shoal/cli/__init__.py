"""The command line. Each file holds the commands of one noun; only `output` prints.

It imports no server package. `shoal up` replaces its own process by a server.
"""
