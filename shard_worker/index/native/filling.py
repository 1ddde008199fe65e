"""Put rows into an index in blocks, so that a build can be stopped. Used in the worker and in remote builders.

Knows neither segments nor the source of the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from shoal.core.points import Matrix
from shoal.shard_worker.index.native.clusters import block_length
from shoal.shard_worker.index.native.index import NativeIndex

_BLOCK_FLOATS = 1_600_000
_BLOCK_ROWS = 4_096
"""Most rows of a block: a block takes about a second in one thread, in a graph.

Each block begins with work of one thread alone. Blocks of 510 rows of 784 dimensions take 1.05 times the processor time
of blocks of 2,040 in a graph, over codes 1.15 times. One block for all rows takes as much as blocks of 2,040.
"""

Blocks = Callable[[int], Iterable[Matrix]]
"""Returns the vectors to insert, in blocks (m, dim) float32 of at most the given number of rows; the same at every
call."""


def block_step(dim: int, most: int = _BLOCK_ROWS) -> int:
    """Return the rows of a block, at most `most` and at least 1."""
    return max(1, min(most, _BLOCK_ROWS, _BLOCK_FLOATS // dim))


def filled(start: NativeIndex, blocks: Blocks, *, dim: int, copy: bool, should_stop: Callable[[], bool]) -> NativeIndex | None:
    """Return `start` with the rows of `blocks` behind its own; None as soon as should_stop().

    copy: `start` itself must not change. With one OpenMP thread, the same blocks give the same index. Raises Internal
    when FAISS refuses.
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
    """Return a copy of `start` with all rows in its lists.

    Rows are assigned to lists first, so that each list gets exactly the room it needs.
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
