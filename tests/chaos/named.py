"""What writers write into a collection with named vectors: `one`, and `other`, which some points lack.

Updates move `other`. Each vector names its point and its version or move, so that every answer can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.chaos.written import DIM, Vector, vector_of

ONE, OTHER = "one", "other"
OTHER_DIM = 5
VECTORS = {ONE: DIM, OTHER: OTHER_DIM}
_LACKING = 3
"""A point lacks `other` in each version that this divides, until it is moved."""


def other_of(point: int, number: int) -> Vector:
    """Return (OTHER_DIM,) float32 of integers, different for every point and number of a version or move."""
    vector = np.random.default_rng((point, number, OTHER_DIM)).integers(-500, 500, OTHER_DIM).astype(np.float32)
    vector[0], vector[1] = point, number
    return vector


def number_of_other(version: int, move: int | None) -> int | None:
    """Return the number that `other` has after a move, or without one; None if the point lacks it."""
    if move is not None:
        return move
    return version if version % _LACKING else None


def columns_of(ids: Sequence[int], version: int) -> dict[str, list[Any]]:
    """Return the vectors of an upsert: by name one for each point, None where it lacks it."""
    number = number_of_other(version, None)
    others = [None if number is None else other_of(point, number) for point in ids]
    return {ONE: [vector_of(point, version) for point in ids], OTHER: others}


def move_in(point: int, version: int, vectors: dict[str, Vector]) -> int | None:
    """Return the move that a point shows that was read, None for none. Raises ValueError for vectors that were never
    written together.
    """
    if set(vectors) not in ({ONE}, {ONE, OTHER}) or not np.array_equal(vectors[ONE], vector_of(point, version)):
        raise ValueError(f"point {point} of version {version} came with vectors {vectors}")
    number = int(vectors[OTHER][1]) if OTHER in vectors else None
    if number is not None and not np.array_equal(vectors[OTHER], other_of(point, number)):
        raise ValueError(f"point {point} came with vector {vectors[OTHER]} of {OTHER}")
    if number == number_of_other(version, None):
        return None
    if number is None:
        raise ValueError(f"point {point} of version {version} lacks its vector {OTHER}")
    return number
