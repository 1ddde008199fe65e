"""Set how the C library keeps freed memory. Without this, memory that a build needed for a moment stays with the
process.

Measured after merging flat segments of 24 MiB: 59 MiB were resident without it, 26 MiB with it. Does nothing where the
C library is not glibc.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_OWN_MAPPING_BYTES = 8 * 1024 * 1024
"""Arrays larger than this go back to the system as soon as they are freed.

Left alone, glibc raises this bound to 32 MiB over time. With a much lower bound the blocks that searches work in would
be mapped anew each time.
"""

_FREE_TOP_BYTES = 4 * 1024 * 1024
"""More free memory than this at the end of a heap goes back to the system at once.

Every few threads have a heap of their own, and `malloc_trim` shortens only the first. With 32 MiB, up to 90 MiB stayed
resident after each of several dropped collections.
"""


def settle_allocator() -> None:
    """Set these bounds for this process. Call it before the process has taken much memory."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _FREE_TOP_BYTES)


def give_back_free_memory() -> None:
    """Return free pages to the system: after a build, or after closing a replica.

    Takes milliseconds, so do not call it on the event loop.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
