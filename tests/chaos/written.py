"""The values that writers write: each names its point and version, so that every answer can be judged."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.chaos.book import Book

DIM = 8
_SHARED = ("red", "green", "blue", "light_blue", "RocksDB", "向量", "数据库", "数")

Vector = npt.NDArray[np.float32]


def vector_of(point: int, version: int) -> Vector:
    """Return (DIM,) float32 of integers, different for every point and version, so that distances are exact."""
    vector = np.random.default_rng((point, version)).integers(-500, 500, DIM).astype(np.float32)
    vector[0], vector[1] = point, version
    return vector


def text_of(point: int, version: int) -> str:
    """Return a text with a word of its point, so that a search finds that point or none, and words that many points
    share, whose scores depend on all living points.
    """
    chance = random.Random(f"{point} {version}")
    return " ".join((f"p{point}", f"v{version}", *chance.choices(_SHARED, k=chance.randint(0, 12))))


def payload_of(point: int, version: int) -> dict[str, Any]:
    return {"point": point, "version": version, "text": text_of(point, version)}


def judge_point(book: Book, point: int, payload: Any, vector: Any, asked: float, answered: float) -> str | None:
    """Return what is wrong with a point as it was read; None if nothing is."""
    if not isinstance(payload, dict) or payload.get("point") != point:
        return f"point {point} came with payload {payload}"
    version = payload["version"]
    possible = book.possible(point, asked, answered)
    if version not in possible:
        return f"point {point} was read as version {version}, possible were {sorted(map(str, possible))}"
    if not np.array_equal(vector, vector_of(point, version)):
        return f"point {point} of version {version} came with vector {vector}"
    return None


def judge_hit(book: Book, point: int, payload: Any, vector: Any, score: float, query: Vector, asked: float, answered: float) -> str | None:
    """Do the same as judge_point, and check the score, too."""
    wrong = judge_point(book, point, payload, vector, asked, answered)
    if wrong is None and not np.isclose(score, float(((vector - query) ** 2).sum()), rtol=1e-5, atol=1e-3):
        return f"point {point} came with score {score} for query {query}"
    return wrong
