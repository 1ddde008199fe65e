"""Puts rows into an index in blocks, so that a build can be told to stop; the same for builds in the worker and far
from it.

Knows neither segments nor where the vectors come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from shoal.core.points import Matrix
from shoal.shard_worker.index.native.clusters import block_length
from shoal.shard_worker.index.native.index import NativeIndex

_BLOCK_FLOATS = 400_000
_BLOCK_ROWS = 4_096
"""Of a block at most: about a quarter of a second each in one thread, in a graph."""

Blocks = Callable[[int], Iterable[Matrix]]
"""Gives the vectors to insert in blocks (m, dim) float32 of at most so many rows, the same ones each time it is
called.
"""


def block_step(dim: int, most: int = _BLOCK_ROWS) -> int:
    """Rows of a block, `most` at most; at least 1."""
    return max(1, min(most, _BLOCK_ROWS, _BLOCK_FLOATS // dim))


def filled(start: NativeIndex, blocks: Blocks, *, dim: int, copy: bool, should_stop: Callable[[], bool]) -> NativeIndex | None:
    """`start` with the rows of `blocks` behind its own; None as soon as should_stop(). copy: `start` itself must not
    change.

    The same index for the same blocks in a thread with one OpenMP thread. Raises Internal when FAISS refuses.
    """
    if start.has_lists:
        return _listed(start, blocks, dim, should_stop)
    native = start.clone() if copy else start
    for vectors in blocks(block_step(dim)):
        if should_stop():
            return None
        native.add(vectors)
    return native


def _listed(start: NativeIndex, blocks: Blocks, dim: int, should_stop: Callable[[], bool]) -> NativeIndex | None:
    """A copy of `start` with all rows in its lists.

    They are assigned before, so that each list gets exactly the room it needs.
    """
    assigned = [np.empty(0, dtype=np.int64)]
    for vectors in blocks(block_step(dim, block_length(start.spec.nlist, dim))):
        if should_stop():
            return None
        assigned.append(start.lists_of(vectors))
    lists = np.concatenate(assigned)
    native = start.clone_with_room(lists)
    done = 0
    for vectors in blocks(block_step(dim)):
        if should_stop():
            return None
        native.add(vectors, lists[done : done + len(vectors)])
        done += len(vectors)
    return native
