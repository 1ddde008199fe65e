"""Vectors that are hard for indexes, and queries that are not drawn from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
DATA = ("uneven", "copies", "gaussian", "clusters", "one-hot", "low dimension")
QUERIES = ("rows", "random", "between", "far", "opposite")


def rows_of(kind: str, rows: int, dim: int, seed: int) -> Vectors:
    """Return (rows, dim) float32 of one kind of DATA. uneven: all positive, of very different lengths; copies: groups
    of 100 equal rows; low dimension: three dimensions embedded in `dim`.
    """
    rng = np.random.default_rng(seed)
    plain = rng.standard_normal((rows, dim))
    match kind:
        case "uneven":
            made = np.abs(plain) * rng.lognormal(0, 1, (rows, 1))
        case "copies":
            made = np.repeat(plain[: -(-rows // 100)], 100, axis=0)[rng.permutation(rows)]
        case "clusters":
            made = 5 * rng.standard_normal((30, dim))[rng.integers(0, 30, rows)] + plain
        case "one-hot":
            made = np.eye(dim)[rng.integers(0, dim, rows)] * rng.integers(1, 3, (rows, 1))
        case "low dimension":
            made = plain[:, :3] @ rng.standard_normal((3, dim))
        case _:
            made = plain
    return made.astype(np.float32)


def queries_of(kind: str, rows: Vectors, count: int, seed: int) -> Vectors:
    """Return (count, dim) float32 of one kind of QUERIES. rows: near some of the rows; far: in random directions,
    twenty times as long as rows.
    """
    rng = np.random.default_rng(seed)
    drawn = rows[rng.integers(0, len(rows), (2, count))]
    noise = rng.standard_normal((count, rows.shape[1])) * rows.std()
    match kind:
        case "rows":
            made = drawn[0] + 0.1 * noise
        case "between":
            made = (drawn[0] + drawn[1]) / 2 + 0.01 * noise
        case "far":
            made = 20 * noise
        case "opposite":
            made = 0.1 * noise - drawn[0]
        case _:
            made = noise
    return np.asarray(made, dtype=np.float32)
