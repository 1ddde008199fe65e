from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from shoal.core.errors import InvalidArgument
from shoal.core.points import PointColumns, PointId, StoredColumns, id_array
from shoal.core.topk import HitColumns
from shoal.v1 import common_pb2
from shoal.wire.columns import (
    fill_hits,
    hits_from_message,
    id_from_message,
    id_to_message,
    ids_from_message,
    ids_to_message,
    payloads_from_message,
    points_from_message,
    points_to_message,
    stored_from_message,
    vectors_from_message,
    vectors_to_message,
)
from tests.unit.shoal.wire.strategies import (
    hit_columns,
    id_lists,
    point_columns,
    point_ids,
    same_ids,
    same_matrix,
    same_named,
    same_payloads,
    stored_columns,
)


def over_the_wire(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@settings(deadline=None)
@given(id_lists)
def test_ids_come_back_in_order_and_kind(ids: list[PointId]) -> None:
    column = id_array(ids)
    assert same_ids(ids_from_message(over_the_wire(ids_to_message(column))), column)


@settings(deadline=None)
@given(point_ids)
def test_one_id_comes_back(point_id: PointId) -> None:
    got = id_from_message(over_the_wire(id_to_message(point_id)), "after")
    assert (got, type(got)) == (point_id, type(point_id))


def test_no_id_and_too_many() -> None:
    assert id_to_message(None) is None
    assert id_from_message(common_pb2.PointIds(), "after") is None
    with pytest.raises(InvalidArgument, match="after holds 2 ids"):
        id_from_message(common_pb2.PointIds(integers=[1, 2]), "after")


@pytest.mark.parametrize("positions", [[], [0], [1, 0], [0, 0], [0, 3], [0, 1, 2]])
def test_mixed_ids_need_ascending_positions_within_the_column(positions: list[int]) -> None:
    with pytest.raises(InvalidArgument, match="string_positions"):
        ids_from_message(common_pb2.PointIds(integers=[1], strings=["a", "b"], string_positions=positions))


@settings(deadline=None)
@given(point_columns())
def test_points_come_back(points: PointColumns) -> None:
    got = points_from_message(over_the_wire(points_to_message(points)))
    assert same_ids(got.ids, points.ids)
    assert same_matrix(got.vectors, points.vectors)
    assert same_payloads(got.payloads, points.payloads)


@settings(deadline=None)
@given(stored_columns())
def test_stored_points_come_back(points: StoredColumns) -> None:
    got = stored_from_message(over_the_wire(points_to_message(points)))
    assert same_named(got.named, points.named)
    assert same_ids(got.ids, points.ids)
    assert same_matrix(got.vectors, points.vectors)
    assert same_payloads(got.payloads, points.payloads)


@settings(deadline=None)
@given(hit_columns())
def test_hits_come_back(hits: HitColumns) -> None:
    message = common_pb2.Hits()
    fill_hits(message, hits)
    got = hits_from_message(over_the_wire(message))
    assert got.counts.tolist() == hits.counts.tolist()
    assert same_ids(got.ids, hits.ids)
    assert (got.scores.dtype, got.scores.tobytes()) == (np.float32, hits.scores.tobytes())
    assert same_payloads(got.payloads, hits.payloads)
    assert same_matrix(got.vectors, hits.vectors)
    assert same_named(got.named, hits.named)


def of_named(*positions: int, numbers: int = 1, **more: Any) -> common_pb2.PointBatch:
    vectors = common_pb2.Vectors(dim=1, values=[1.0] * numbers)
    column = common_pb2.NamedVectors(name="image", vectors=vectors, positions=positions)
    return common_pb2.PointBatch(ids=common_pb2.PointIds(integers=[5, 6]), named=[column], **more)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (of_named(2), "positions of vector 'image' must be ascending, from 0 to 1"),
        (of_named(1, 0, numbers=2), "positions of vector 'image' must be ascending"),
        (of_named(1, 1, numbers=2), "positions of vector 'image' must be ascending"),
        (of_named(0, numbers=2), "1 positions are given for 2 vectors"),
        (of_named(numbers=1), "1 are given for 2 points, without positions"),
        (of_named(0, vectors=common_pb2.Vectors(dim=1, values=[1, 2])), "give vectors or named, not both"),
    ],
)
def test_named_vectors_that_do_not_fit_to_their_points_are_refused(message: common_pb2.PointBatch, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        points_from_message(message)


def test_a_name_is_given_once() -> None:
    message = of_named(0)
    message.named.append(message.named[0])
    for read in (points_from_message, stored_from_message):
        with pytest.raises(InvalidArgument, match="'image' is given twice"):
            read(message)


def test_without_positions_there_is_a_vector_for_each_point_or_none_at_all() -> None:
    each, none = points_from_message(of_named(numbers=2)).named, points_from_message(of_named(numbers=0)).named
    assert each is not None
    assert none is not None
    assert (each["image"].positions, each["image"].vectors.tolist()) == (None, [[1.0], [1.0]])
    assert none["image"].positions is not None
    assert (none["image"].positions.tolist(), none["image"].vectors.shape) == ([], (0, 1))


def test_vectors_travel_as_little_endian_rows_whatever_their_memory_looks_like() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given_matrix in (matrix, np.asfortranarray(matrix), matrix.astype(">f4"), np.repeat(matrix, 2, axis=0)[::2]):
        message = vectors_to_message(given_matrix)
        assert (message.dim, message.data) == (3, matrix.astype("<f4").tobytes())


def test_plain_floats_are_taken_instead_of_bytes() -> None:
    got = vectors_from_message(over_the_wire(common_pb2.Vectors(dim=2, values=[1, 2, 3, 4.5])))
    assert got.tolist() == [[1, 2], [3, 4.5]]
    assert got.dtype == np.float32


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"dim": 0, "data": b"\0" * 8}, "dim is 0"),
        ({}, "dim is 0"),
        ({"dim": 2, "data": b"\0" * 7}, "7 bytes are not float32"),
        ({"dim": 2, "data": b"\0" * 12}, "3 numbers do not fill rows of dimension 2"),
        ({"dim": 2, "values": [1.0]}, "1 numbers do not fill rows"),
        ({"dim": 1, "values": [1.0], "data": b"\0" * 4}, "not both"),
    ],
)
def test_what_is_no_matrix_is_refused(message: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        vectors_from_message(common_pb2.Vectors(**message), "queries")
    assert caught.value.details.field == "queries"
    assert caught.value.message.startswith("queries: ")


def test_columns_of_different_lengths_are_refused() -> None:
    vectors = vectors_to_message(np.ones((2, 1), dtype=np.float32))
    with pytest.raises(InvalidArgument, match="3 ids are given for 2 vectors"):
        points_from_message(common_pb2.PointBatch(ids=common_pb2.PointIds(integers=[1, 2, 3]), vectors=vectors))
    with pytest.raises(InvalidArgument, match="payloads: 1 are given for 2 points"):
        payloads_from_message(["{}"], 2)
