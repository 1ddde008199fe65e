"""Hits are lists of frozen values, also for code that reads lists without asking them; payloads are read when used."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.client.results import hits_of, hits_of_lists, points_of
from shoal.core.errors import DataLoss
from shoal.core.points import StoredColumns
from shoal.core.topk import HitColumns
from shoal.wire.search_bytes import HitLists

TEXTS = (b'{"a":{"b":[1]}}', None, b"{}")
COLUMNS = HitColumns(
    counts=np.array([2, 1]),
    ids=np.array([7, 8, 9]),
    scores=np.array([0.5, 1.5, 2.5], np.float32),
    payloads=TEXTS,
    vectors=np.arange(6, dtype=np.float32).reshape(3, 2),
)
LISTS = HitLists([2, 1], [7, 8, 9], [0.5, 1.5, 2.5], ['{"a":{"b":[1]}}', "", "{}"], ())
EXPECTED = [[shoal.Hit(7, 0.5, {"a": {"b": [1]}}), shoal.Hit(8, 1.5)], [shoal.Hit(9, 2.5, {})]]


def both() -> list[list[shoal.Hits]]:
    return [hits_of(COLUMNS, ()), hits_of_lists(LISTS)]


def test_they_are_what_a_constructor_makes() -> None:
    for made in both():
        assert made == EXPECTED
        assert repr(made[1][0]).startswith("Hit(id=9, score=2.5, payload={}, vector=")
        assert [list(map(hash, hits)) for hits in made] == [list(map(hash, hits)) for hits in EXPECTED]
        assert [type(hits) for hits in made] == [shoal.Hits, shoal.Hits]


def test_they_are_lists_in_every_way() -> None:
    (hits, _), expected = both()[1], EXPECTED[0]
    assert isinstance(hits, list)
    assert (len(hits), bool(hits), hits[-1], hits[:1], list(reversed(hits))) == (2, True, expected[1], expected[:1], expected[::-1])
    assert hits + [1] == [*expected, 1]  # noqa: RUF005
    assert [1] + hits == [1, *expected]  # noqa: RUF005
    assert (hits * 2, expected[0] in hits, hits.index(expected[1])) == (expected * 2, True, 1)
    first, second = hits
    assert [first, second] == hits == expected
    hits.append(expected[0])
    assert len(hits) == 3


def test_code_that_reads_a_list_without_its_methods_sees_them() -> None:
    """As encoders and checkers written in C do. A list that fills itself only when it is asked would look empty."""
    for hits, _ in both():
        assert ctypes.pythonapi.PyList_Size(ctypes.py_object(hits)) == 2
        assert list.__len__(hits) == 2
        assert list.__getitem__(hits, 0) == EXPECTED[0][0]


def test_a_payload_is_read_once_and_then_stays_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    for hits, _ in both():
        payload = hits[0].payload
        assert payload is not None
        assert hits[0].payload is payload
        payload["more"] = 1
        assert hits[0].payload == {"a": {"b": [1]}, "more": 1}


def test_nothing_is_read_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes | None] = []
    monkeypatch.setattr("shoal.client.results.payload_from_json", lambda text: read.append(text) or {})
    hits = hits_of_lists(LISTS)
    assert [hit.id for each in hits for hit in each] == [7, 8, 9]
    assert read == []
    assert hits[0][0].payload == {}
    assert read == [TEXTS[0]]


@pytest.mark.parametrize("text", [b"[1]", b"{", b"\xff", b""])
def test_a_damaged_payload_is_told_when_it_is_used(text: bytes) -> None:
    hit = hits_of(dataclasses.replace(COLUMNS, payloads=(text, None, None)), ())[0][0]
    assert hit.id == 7
    for _ in range(2):
        with pytest.raises(DataLoss, match="no JSON object"):
            _ = hit.payload


def test_they_are_frozen() -> None:
    hit = both()[1][0][0]
    for name in ("id", "score", "payload", "vector"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(hit, name, None)
    assert [each.name for each in dataclasses.fields(hit)] == ["id", "score", "payload", "vector"]
    with pytest.raises(AttributeError):
        _ = hit.__dict__


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_they_can_be_copied_and_pickled(again: Any) -> None:
    for made in (*both(), hits_of_lists(LISTS._replace(missing_shards=("c/1",)))):
        hits = made[0]
        hits.more = True
        twin = again(hits)
        assert (type(twin), twin, twin.more, twin.missing_shards) == (shoal.Hits, hits, True, hits.missing_shards)
        assert dataclasses.replace(hits[0], id=1) == shoal.Hit(1, 0.5, {"a": {"b": [1]}})
        assert dataclasses.asdict(hits[1])["payload"] is None


def test_points_are_made_alike() -> None:
    stored = StoredColumns(ids=COLUMNS.ids, vectors=COLUMNS.vectors, payloads=TEXTS)
    points = points_of(stored)
    assert points == [shoal.Point(7, {"a": {"b": [1]}}), shoal.Point(8), shoal.Point(9, {})]
    assert [point.vector.tolist() for point in points if point.vector is not None] == [[0, 1], [2, 3], [4, 5]]
    assert points_of(StoredColumns(ids=COLUMNS.ids, vectors=None, payloads=None)) == [shoal.Point(7), shoal.Point(8), shoal.Point(9)]
