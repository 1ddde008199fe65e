"""Test named vectors: packed rows against dictionaries, and what a specification may say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec, spec_from_input
from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.named_vectors import (
    MOST_NAMED_VECTORS,
    NamedVector,
    VectorColumn,
    check_packed,
    having,
    named_vectors_from_input,
    packed,
    packed_dim,
    replaced,
    unpacked,
)

Point = dict[int, list[float]]
"""The plain twin of a packed row: the vectors that a point has, by number."""

dims_of_all = st.lists(st.integers(1, 4), min_size=1, max_size=MOST_NAMED_VECTORS)
numbers = st.floats(-1e6, 1e6, width=32)


@st.composite
def points_of(draw: st.DrawFn, dims: list[int], count: int) -> list[Point]:
    each = st.fixed_dictionaries({}, optional={bit: st.lists(numbers, min_size=dim, max_size=dim) for bit, dim in enumerate(dims)})
    return draw(st.lists(each, min_size=count, max_size=count))


@st.composite
def twins(draw: st.DrawFn) -> tuple[list[int], list[Point], list[Point]]:
    dims, count = draw(dims_of_all), draw(st.integers(0, 5))
    return dims, draw(points_of(dims, count)), draw(points_of(dims, count))


def columns_of(dims: list[int], points: list[Point]) -> list[VectorColumn | None]:
    columns: list[VectorColumn | None] = []
    for bit, dim in enumerate(dims):
        have = [at for at, point in enumerate(points) if bit in point]
        vectors = np.array([points[at][bit] for at in have], dtype=np.float32).reshape(-1, dim)
        positions = None if len(have) == len(points) else np.array(have, dtype=np.intp)
        columns.append(VectorColumn(vectors=vectors, positions=positions) if have else None)
    return columns


def rows_of(dims: list[int], points: list[Point]) -> np.ndarray:
    return packed(dims, columns_of(dims, points), len(points))


def points_in(columns: list[VectorColumn], count: int) -> list[Point]:
    points: list[Point] = [{} for _ in range(count)]
    for bit, column in enumerate(columns):
        positions = range(count) if column.positions is None else column.positions.tolist()
        for at, vector in zip(positions, column.vectors.tolist(), strict=True):
            points[at][bit] = vector
    return points


@settings(deadline=None)
@given(twins())
def test_points_come_back_from_their_packed_rows(drawn: tuple[list[int], list[Point], list[Point]]) -> None:
    dims, points, _ = drawn
    rows = rows_of(dims, points)
    check_packed(dims, rows)
    assert rows.dtype == np.float32
    assert rows.shape == (len(points), 1 + sum(dims))
    assert points_in(unpacked(dims, rows), len(points)) == points
    assert [[bit in point for point in points] for bit in range(len(dims))] == [having(rows, bit).tolist() for bit in range(len(dims))]


@settings(deadline=None)
@given(twins())
def test_vectors_that_a_change_gives_replace_those_of_their_names_alone(drawn: tuple[list[int], list[Point], list[Point]]) -> None:
    dims, points, changes = drawn
    before = rows_of(dims, points)
    kept = before.copy()
    after = replaced(dims, before, rows_of(dims, changes))
    wanted = [{**point, **change} for point, change in zip(points, changes, strict=True)]
    assert points_in(unpacked(dims, after), len(points)) == wanted
    assert after.tobytes() == rows_of(dims, wanted).tobytes()
    assert before.tobytes() == kept.tobytes()


@settings(deadline=None)
@given(twins(), st.data())
def test_points_are_taken_in_any_order(drawn: tuple[list[int], list[Point], list[Point]], data: st.DataObject) -> None:
    dims, points, _ = drawn
    taken = data.draw(st.lists(st.integers(0, len(points) - 1), max_size=6)) if points else []
    columns = [column.take(np.array(taken, dtype=np.intp)) for column in unpacked(dims, rows_of(dims, points))]
    for column in columns:
        column.check("a", len(taken))
    assert points_in(columns, len(taken)) == [points[at] for at in taken]


def test_a_packed_row_is_this() -> None:
    columns = [None, VectorColumn(vectors=np.array([[2, 3]], np.float32), positions=np.array([1]))]
    assert packed([1, 2], columns, 2).tolist() == [[0, 0, 0, 0], [2, 0, 2, 3]]


@pytest.mark.parametrize("rows", [[[4.0, 0, 0]], [[0.5, 0, 0]], [[-1.0, 0, 0]], [[1.0, np.nan, 0]], [[np.inf, 0, 0]], [[1.0, 0]]], ids=str)
def test_what_is_no_packed_row_is_refused(rows: list[list[float]]) -> None:
    with pytest.raises(InvalidArgument):
        check_packed([1, 1], np.array(rows, np.float32))


@pytest.mark.parametrize(
    ("positions", "rows", "told"),
    [
        (None, 2, "2 are given for 3 points"),
        ([0, 2], 1, "2 positions are given for 1 vectors"),
        ([1, 1], 2, "must be ascending, from 0 to 2"),
        ([2, 0], 2, "must be ascending"),
        ([-1, 0], 2, "must be ascending"),
        ([0, 3], 2, "must be ascending"),
    ],
)
def test_positions_that_do_not_fit_are_refused_by_name(positions: list[int] | None, rows: int, told: str) -> None:
    column = VectorColumn(vectors=np.zeros((rows, 2), np.float32), positions=None if positions is None else np.array(positions))
    with pytest.raises(InvalidArgument, match=rf"'image'.*{told}|{told}.*'image'|'image' {told}"):
        column.check("image", 3)


def of_input(given: Any, **options: Any) -> tuple[NamedVector, ...]:
    return named_vectors_from_input(given, **{"metric": "l2", "index": "auto", "limits": DEFAULT_LIMITS, **options})


def test_what_a_vector_does_not_say_is_that_of_all() -> None:
    named = of_input({"image": 512, "text": {"dim": 384, "index": "HNSW8"}, "x": {"dim": 2, "metric": "ip"}}, metric="cosine", index="ivf")
    assert named == (
        NamedVector(name="image", dim=512, metric=Metric.COSINE, index="ivf"),
        NamedVector(name="text", dim=384, metric=Metric.COSINE, index="HNSW8,Flat"),
        NamedVector(name="x", dim=2, metric=Metric.IP, index="ivf"),
    )
    assert of_input(named) == named
    assert packed_dim(named) == 1 + 512 + 384 + 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a b": 2}, "the name of a vector is 'a b'"),
        ({"": 2}, "the name of a vector is ''"),
        ({"image": 0}, "dim of vector 'image' is 0"),
        ({"image": True}, "dim of vector 'image' is True"),
        ({"image": {"metric": "ip"}}, "it must have a dim"),
        ({"image": {"dim": 2, "dims": 3}}, "it must have a dim, and may have a metric and an index"),
        ({"image": {"dim": 2, "metric": "l1"}}, "metric of vector 'image'"),
        ({str(number): 1 for number in range(MOST_NAMED_VECTORS + 1)}, "17 vectors are named, at most 16"),
        ({"a": DEFAULT_LIMITS.dim, "b": 1}, "dimensions together, at most"),
        ([NamedVector(name="a", dim=1)] * 2, "two vectors have the same name"),
        (["image"], "it must map names to dimensions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_a_specification_may_not_say_is_told(given: Any, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as error:
        of_input(given)
    assert error.value.details.field == ("metric" if told.startswith("metric") else "vectors")


def spec_of(**given: Any) -> CollectionSpec:
    options = {"name": "c", "dim": 0, "metric": "l2", "shards": 1, "replicas": 1, "index": "auto", "limits": DEFAULT_LIMITS}
    return spec_from_input(**{**options, **given})


def test_a_specification_tells_its_vectors_by_name() -> None:
    spec = spec_of(vectors={"image": 3, "text": {"dim": 2, "metric": "ip"}})
    assert (spec.dim, spec.point_dim, spec.vector_of("text")) == (0, 6, NamedVector(name="text", dim=2, metric=Metric.IP))
    with pytest.raises(InvalidArgument, match="has no vector 'txt', it has image, text"):
        spec.vector_of("txt")
    with pytest.raises(InvalidArgument, match="give the name of one: image, text"):
        spec.vector_of("")
    lone = spec_of(dim=4, metric="cosine", index="flat")
    assert (lone.point_dim, lone.vector_of("")) == (4, NamedVector(name="", dim=4, metric=Metric.COSINE, index="flat"))
    with pytest.raises(InvalidArgument, match="one vector without a name, not 'image'"):
        lone.vector_of("image")
    with pytest.raises(InvalidArgument, match="with named vectors each has its own"):
        spec_of(dim=4, vectors={"image": 3})
