"""Make points with payloads of many kinds, filters that often match them, and the truth, which reads every point."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import shoal
from shoal.core.filter_input import filter_from_input
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import PointId, id_order

DIM = 12
LABELS = 10
TAGS = ("red", "blå", "grün", "中文", "\U0001f41f", "e\u0301", "")
NAMES = ("Müller", "McArthur", "Mc Kay", "Ōe", "o'Brien", "\U0001f41f fish")
BIG = 2**53

Payload = dict[str, Any] | None
Vector = npt.NDArray[np.float32]


@dataclass
class Model:
    """What a collection must hold, by id. Vectors consist of integers, so that squared distances are exact."""

    chance: random.Random
    vectors: dict[PointId, Vector] = field(default_factory=dict)
    payloads: dict[PointId, Payload] = field(default_factory=dict)

    def upsert(self, client: shoal.Client, name: str, ids: Iterable[PointId]) -> None:
        """Write new versions of these points to the model and to the collection."""
        listed = list(ids)
        for each in listed:
            label = self.chance.randrange(LABELS)
            self.payloads[each] = payload_of(self.chance, label)
            self.vectors[each] = vector_of(self.chance, label)
        client.upsert(name, listed, np.array([self.vectors[each] for each in listed]), [self.payloads[each] for each in listed])

    def remove(self, ids: Iterable[PointId]) -> None:
        for each in ids:
            self.vectors.pop(each, None)
            self.payloads.pop(each, None)

    def matching(self, filter: Mapping[str, Any] | None) -> list[PointId]:
        """Return the ids that match, in id order."""
        if filter is None:
            return sorted(self.payloads, key=id_order)
        tree = filter_from_input(filter, DEFAULT_LIMITS)
        return sorted((each for each, payload in self.payloads.items() if matches(tree, payload, each)), key=id_order)

    def scores(self, query: Vector, ids: Sequence[PointId]) -> npt.NDArray[np.float32]:
        """Return the squared distances of these points, shape (n,)."""
        if not ids:
            return np.empty(0, dtype=np.float32)
        return ((np.array([self.vectors[each] for each in ids]) - query) ** 2).sum(axis=1)

    def nearest(self, query: Vector, k: int, ids: Sequence[PointId]) -> list[tuple[PointId, float]]:
        """Return the k nearest of these points with their scores, by (score, id). ids: in id order."""
        scores = self.scores(query, ids)
        return [(ids[at], float(scores[at])) for at in np.argsort(scores, kind="stable")[:k]]


def numbered(numbers: Iterable[int]) -> list[PointId]:
    """Return ids of points: integers, and every third one a string."""
    return [f"p{number}" if number % 3 == 2 else number for number in numbers]


def vector_of(chance: random.Random, label: int) -> Vector:
    """Draw a vector (DIM,) near the corner of its label, so that filters by label select neighbours."""
    return np.array([(24 if at % LABELS == label else 0) + chance.randrange(-15, 16) for at in range(DIM)], dtype=np.float32)


def payload_of(chance: random.Random, label: int) -> Payload:
    """Draw a payload in which any part may be missing. Sometimes there is no payload."""
    if chance.random() < 0.03:
        return None
    parts: dict[str, Callable[[], Any]] = {
        "bucket": lambda: chance.randrange(100),
        "price": lambda: chance.choice([chance.randrange(50), chance.randrange(500) / 10, float(chance.randrange(50))]),
        "tags": lambda: chance.sample(TAGS, chance.randrange(4)),
        "author": lambda: {"name": chance.choice(NAMES), "born": chance.choice([None, chance.randrange(1900, 2000)])},
        "authors": lambda: [{"name": chance.choice(NAMES), "age": chance.randrange(90)} for _ in range(chance.randrange(3))],
        "sold": lambda: chance.choice([True, False, None, 1, 0]),
        "big": lambda: chance.choice([BIG, BIG + 1, float(BIG), 2**70]),
        "a.b": lambda: chance.randrange(3),
        "mixed": lambda: chance.choice([3, "3", 3.0, True, None, [], [[3]], [3, "x"], {"c": 3}]),
    }
    return {"label": label, **{key: make() for key, make in parts.items() if chance.random() < 0.7}}


def filter_of(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """Draw a filter as a user writes it, at most three levels deep."""
    kind = chance.random()
    if depth < 3 and kind < 0.35:
        return {chance.choice(["$and", "$or"]): [filter_of(chance, depth + 1) for _ in range(chance.randrange(1, 4))]}
    if depth < 3 and kind < 0.45:
        return {"$not": filter_of(chance, depth + 1)}
    return chance.choice(_CONDITIONS)(chance)


_CONDITIONS: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    lambda chance: {"label": chance.randrange(LABELS)},
    lambda chance: {"label": {"$ne": chance.randrange(LABELS)}},
    lambda chance: {"label": {"$in": chance.sample(range(LABELS), chance.randrange(4))}},
    lambda chance: {"bucket": {"$lt": chance.choice([1, 5, 20, 50, 99])}},
    lambda chance: {"bucket": {"$nin": chance.sample(range(100), 60)}},
    lambda chance: {"price": {"$gte": chance.randrange(40), "$lt": chance.choice([5, 20.5, 45])}},
    lambda chance: {"price": float(chance.randrange(50))},
    lambda chance: {"tags": chance.choice(TAGS)},
    lambda chance: {"tags": {"$in": chance.sample(TAGS, 2)}},
    lambda chance: {"tags": {"$ne": chance.choice(TAGS)}},
    lambda chance: {"tags": {"$contains": chance.choice(["r", "ü", "文", "\u0301", "red"])}},
    lambda chance: {"tags": {"$exists": chance.choice([True, False])}},
    lambda chance: {"author.name": {"$prefix": chance.choice(["M", "Mc", "Mü", "\U0001f41f", "x"])}},
    lambda chance: {"author.born": chance.choice([None, 1950, {"$gt": 1960}, {"$lte": 1910}])},
    lambda chance: {"authors.name": chance.choice([chance.choice(NAMES), {"$contains": "c"}, {"$gte": "N"}])},
    lambda chance: {"authors.age": {"$gt": chance.randrange(90), "$lt": chance.randrange(90)}},
    lambda chance: {"authors.age": {"$not": {"$lt": chance.randrange(90)}}},
    lambda chance: {"sold": chance.choice([True, False, None, 1, 0])},
    lambda chance: {"big": chance.choice([BIG, BIG + 1, float(BIG), 2**70, {"$gt": BIG}, {"$lt": float(2**70)}])},
    lambda chance: {r"a\.b": chance.randrange(3)},
    lambda chance: {"mixed": chance.choice([3, "3", True, None, {"$contains": 3}, {"$contains": "x"}, {"$exists": True}])},
    lambda chance: {"mixed.c": 3},
    lambda chance: {"$id": numbered(chance.sample(range(3_000), 40))},
    lambda chance: {"label": chance.randrange(LABELS), "bucket": {"$gte": 50}, "sold": {"$ne": True}},
    lambda chance: {"nowhere": chance.choice([1, {"$exists": False}])},
)
