"""How the C library keeps memory that was freed. Without this, what a build needed for a moment stays with the process:
measured after merging flat segments of 24 MiB, 59 MiB were resident; with it, 26 MiB.

Does nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_OWN_MAPPING_BYTES = 8 * 1024 * 1024
"""Larger arrays go back to the system as soon as they are freed. Left alone, glibc raises this bound to 32 MiB as it
goes; much lower, and the blocks that searches work in would be mapped anew each time."""

_FREE_TOP_BYTES = 4 * 1024 * 1024
"""More free memory than this at the end of a heap goes back at once. Every few threads have a heap of their own, and
`malloc_trim` does not shorten any but the first: with 32 MiB, up to 90 MiB stayed resident after each of a row of
dropped collections."""


def settle_allocator() -> None:
    """Fix the bounds for this process, before it has taken much memory."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _FREE_TOP_BYTES)


def give_back_free_memory() -> None:
    """Give pages that hold nothing back to the system: after a build, after closing a replica.

    Takes milliseconds; off the event loop.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
