"""The command line: one file per noun, one file that prints.

Refuses to know server packages; `shoal up` becomes one.
"""
