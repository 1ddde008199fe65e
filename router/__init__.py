"""The router: takes calls on the public port, asks the workers, and merges their answers.

Its only state is a cached cluster map.
"""
