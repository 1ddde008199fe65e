"""Columns of named vectors agree with points that are dictionaries, however they are cut and joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.named_columns import by_point, bytes_of_row, check_fits, dims_of, joined, within
from shoal.client.named_input import columns_from_input
from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.points import PointColumns, id_array

DIMS = {"a": 1, "b": 3, "c": 2}
Row = dict[str, list[float]]


@st.composite
def rows_with_names(draw: Any, least: int = 0) -> list[Row]:
    """Return points, each with some of the vectors."""
    number = st.integers(-5, 5)
    point = st.fixed_dictionaries({}, optional={name: st.lists(number, min_size=dim, max_size=dim) for name, dim in DIMS.items()})
    found: list[Row] = draw(st.lists(point, min_size=least, max_size=8))
    return found


def columns_of(rows: list[Row], dtype: Any = np.float32) -> Any:
    """Return columns of the names that are in the rows."""
    names = [name for name in DIMS if any(name in row for row in rows)]
    given = {name: [np.array(row[name], dtype) if name in row else None for row in rows] for name in names}
    return columns_from_input(given, len(rows), integers_stay=True)


def rows_of(columns: Any, count: int) -> list[Row]:
    return [{name: vector.tolist() for name, vector in sorted(point.items())} for point in by_point(columns, count)]


def sorted_rows(rows: list[Row]) -> list[Row]:
    return [dict(sorted(row.items())) for row in rows]


@settings(deadline=None, max_examples=200)
@given(rows_with_names(), st.data(), st.sampled_from([np.float32, np.int16]))
def test_a_part_has_the_vectors_of_its_points(rows: list[Row], data: Any, dtype: Any) -> None:
    start = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(start, len(rows)))
    part = within(columns_of(rows, dtype), start, end)
    assert rows_of(part, end - start) == sorted_rows(rows[start:end])
    for column in part.values():
        assert column.vectors.dtype == np.float32
        assert column.positions is None or len(column.positions) == len(column.vectors) < max(1, end - start)
    assert rows_of(columns_of(rows), len(rows)) == sorted_rows(rows)


@settings(deadline=None, max_examples=200)
@given(st.lists(rows_with_names(), min_size=1, max_size=4))
def test_joined_parts_have_all_points_in_order(parts: list[list[Row]]) -> None:
    together = joined([(len(rows), columns_of(rows)) for rows in parts])
    rows = [row for part in parts for row in part]
    assert rows_of(together, len(rows)) == sorted_rows(rows)
    for name, column in together.items():
        assert (column.positions is None) == all(name in row for row in rows)


@settings(deadline=None)
@given(rows_with_names())
def test_a_row_has_room_for_each_vector_that_some_point_has(rows: list[Row]) -> None:
    assert bytes_of_row(columns_of(rows)) == 4 + 4 * sum(dim for name, dim in DIMS.items() if any(name in row for row in rows))
    assert dims_of(columns_of(rows)) == {name: dim for name, dim in DIMS.items() if any(name in row for row in rows)}


def test_a_name_that_no_point_has_joins_with_one_that_some_have() -> None:
    columns = joined([(2, columns_from_input({"a": [None, None]}, 2)), (1, columns_from_input({"a": [[7]]}, 1)), (1, {})])
    assert rows_of(columns, 4) == [{}, {}, {"a": [7.0]}, {}]
    nobody = joined([(2, columns_from_input({"a": [None, None]}, 2)), (1, {})])
    assert rows_of(nobody, 3) == [{}, {}, {}]
    assert dims_of(nobody) == {}


SPEC = CollectionSpec(
    name="c", dim=0, vectors=(NamedVector(name="image", dim=2), NamedVector(name="text", dim=3, metric=Metric.COSINE, index="hnsw"))
)
PLAIN = CollectionSpec(name="c", dim=2)


def points(vectors: Any) -> PointColumns:
    """Return four points."""
    named = columns_from_input(vectors, 4) if isinstance(vectors, dict) else None
    matrix = np.zeros((4, 0), np.float32) if named is not None else np.asarray(vectors, np.float32)
    return PointColumns(ids=id_array(range(4)), vectors=matrix, payloads=None, named=named)


def test_a_part_keeps_names_of_which_nobody_knows_the_dimension() -> None:
    columns = columns_from_input({"a": [None, None, None], "b": [None, None, [1, 2]]}, 3)
    for end, shape in ((3, (1, 2)), (2, (0, 2))):
        part = within(columns, 0, end)
        assert {name: column.vectors.shape for name, column in part.items()} == {"a": (0, 1), "b": shape}
        assert part["a"].positions is not None


def test_points_fit_their_collection() -> None:
    check_fits(points({"image": np.zeros((4, 2)), "text": [None, [1, 0, 0], None, None]}), SPEC)
    check_fits(points({}), SPEC)
    check_fits(points({"text": [None] * 4}), SPEC)
    check_fits(points(np.zeros((4, 2))), PLAIN)


@pytest.mark.parametrize(
    ("spec", "vectors", "said", "index"),
    [
        (SPEC, np.zeros((4, 2)), "has several vectors, give them by name: image, text", None),
        (PLAIN, {"image": np.zeros((4, 2))}, "'c' has one vector of 2 dimensions without a name", None),
        (PLAIN, {}, "'c' has one vector of 2 dimensions without a name: give this", None),
        (SPEC, {"sound": np.zeros((4, 2))}, "has no vector 'sound', it has image, text", None),
        (SPEC, {"sound": [None] * 4}, "has no vector 'sound', it has image, text", None),
        (SPEC, {"text": np.ones((4, 2))}, r"vectors\['text'\] have dimension 2, vector 'text' has 3", 0),
        (SPEC, {"text": [None, [1, 1, 1], None, [0, 0, 0]]}, r"vectors\['text'\]\[3\] is zero: it has no direction", 3),
        (SPEC, {"text": np.zeros((4, 3))}, r"vectors\['text'\]\[0\] is zero", 0),
    ],
)
def test_what_does_not_fit_is_named(spec: CollectionSpec, vectors: Any, said: str, index: int | None) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        check_fits(points(vectors), spec)
    assert caught.value.details.index == index
