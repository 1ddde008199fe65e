"""The searches of the example, with the public SDK, each beside the exact answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import shoal
from examples.images.embedding import Matrix
from examples.images.wishes import PicturesLike, RandomPictures, Wish
from shoal.core.errors import DataLoss

TIMEOUT_S = 10.0
_TIE = 1e-5
"""Scores that differ by less, relative to the larger one, are equal: float32 sums in another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPicture:
    """A picture on the page. score: None if nothing was compared."""

    id: int
    label: str
    name: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a wish found. asked: the picture that the others are like; search_ms: of the one call that found them;
    exact_ms: of an exact search for the same; nearest: how many of the pictures an exact search finds, too. None for
    random ones.
    """

    wish: Wish
    pictures: tuple[ShownPicture, ...]
    search_ms: float
    asked: ShownPicture | None = None
    exact_ms: float | None = None
    nearest: int | None = None


class ImageSearch:
    """Answers wishes from a collection whose points are the pictures, with payloads of label and name."""

    def __init__(self, client: shoal.AsyncClient, collection: str, labels: Sequence[str]) -> None:
        """labels: of each picture, whose id is its position."""
        self._client, self._collection = client, collection
        self.count = len(labels)
        names, numbers = np.unique(np.asarray(labels), return_inverse=True)
        self._ids: dict[str, npt.NDArray[np.intp]] = {
            str(name): np.flatnonzero(numbers == number) for number, name in enumerate(names.tolist())
        }

    @property
    def labels(self) -> Mapping[str, int]:
        """Return how many pictures have each label, ascending by label."""
        return {label: len(ids) for label, ids in self._ids.items()}

    async def answer(self, wish: Wish) -> Answer:
        """Return what a checked wish finds. Raises ShoalErrors."""
        match wish:
            case RandomPictures():
                return await self._random(wish)
            case PicturesLike():
                return await self._like(wish)

    async def _random(self, wish: RandomPictures) -> Answer:
        ids = np.arange(self.count) if wish.label is None else self._ids[wish.label]
        drawn = np.random.default_rng(wish.seed).permutation(ids)[: wish.k].tolist()
        began = time.perf_counter()
        points = await self._client.get(self._collection, drawn, with_vectors=False, timeout=TIMEOUT_S)
        spent_ms = (time.perf_counter() - began) * 1e3
        return Answer(wish=wish, pictures=tuple(_shown(point.id, point.payload) for point in points), search_ms=spent_ms)

    async def _like(self, wish: PicturesLike) -> Answer:
        points = await self._client.get(self._collection, [wish.id], timeout=TIMEOUT_S)
        if not points:
            raise shoal.NotFound(f"the collection has no picture {wish.id}")
        others: dict[str, Any] = {"$id": {"$ne": wish.id}}
        if wish.label is not None:
            others["label"] = wish.label
        found, search_ms = await self._timed(points[0].vector, wish.k, others, exact=False)
        exact, exact_ms = await self._timed(points[0].vector, wish.k, others, exact=True)
        return Answer(
            wish=wish,
            pictures=tuple(_shown(hit.id, hit.payload, hit.score) for hit in found),
            search_ms=search_ms,
            asked=_shown(points[0].id, points[0].payload),
            exact_ms=exact_ms,
            nearest=same_count([hit.score for hit in found], [hit.score for hit in exact]),
        )

    async def _timed(self, vector: Any, k: int, filter: Mapping[str, Any], *, exact: bool) -> tuple[shoal.Hits, float]:
        began = time.perf_counter()
        hits = await self._client.search(self._collection, vector, k=k, filter=filter, exact=exact, timeout=TIMEOUT_S)
        return hits, (time.perf_counter() - began) * 1e3


def same_count(found: Sequence[float], exact: Sequence[float]) -> int:
    """Return how many of the hits of a search an exact search could have found, both best first.

    Hits count by their scores: of several that are equally far, any is right.
    """
    left = list(exact)
    same = 0
    for score in found:
        at = next((at for at, other in enumerate(left) if abs(score - other) <= _TIE * max(abs(score), abs(other), 1e-9)), None)
        if at is not None:
            del left[at]
            same += 1
    return same


def measured_recall(client: shoal.Client, collection: str, vectors: Matrix, k: int) -> float:
    """Return the share of the true k nearest that searches for these vectors find. vectors: (n, dim), n > 0."""
    found = client.search_many(collection, vectors, k=k, with_payload=False)
    exact = client.search_many(collection, vectors, k=k, with_payload=False, exact=True)
    same = sum(same_count([hit.score for hit in one], [hit.score for hit in other]) for one, other in zip(found, exact, strict=True))
    return same / sum(map(len, exact))


def payload_of(label: str, name: str) -> dict[str, str]:
    """Return what is stored of a picture beside its vector."""
    return {"label": label, "name": name}


def _shown(id: int | str, payload: Mapping[str, Any] | None, score: float | None = None) -> ShownPicture:
    if not isinstance(id, int) or payload is None:
        raise DataLoss(f"point {id!r} is not one of the pictures that were loaded")
    return ShownPicture(id=id, label=payload["label"], name=payload["name"], score=score)
