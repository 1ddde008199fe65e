"""Test points as bytes: they are the format of the log, which must not change, and they are forwarded as they came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from shoal.core.errors import InvalidArgument
from shoal.core.points import PointColumns, id_array
from shoal.v1 import common_pb2
from shoal.wire.columns import points_to_message
from shoal.wire.point_bytes import points_from_bytes, points_from_request, points_to_bytes
from tests.unit.shoal.wire.strategies import named_points, point_columns, same_ids, same_matrix, same_named, same_payloads


@settings(deadline=None)
@given(point_columns())
def test_points_come_back_from_their_bytes_which_they_keep(points: PointColumns) -> None:
    data = points_to_bytes(points)
    got = points_from_bytes(data)
    assert same_ids(got.ids, points.ids)
    assert same_matrix(got.vectors, points.vectors)
    assert same_payloads(got.payloads, points.payloads)
    assert points_to_bytes(got) is data


@settings(deadline=None)
@given(point_columns())
def test_the_bytes_are_those_of_a_message_made_by_protobuf(points: PointColumns) -> None:
    assert points_to_bytes(points) == points_to_message(points).SerializeToString()


def test_the_bytes_are_these() -> None:
    points = PointColumns(ids=id_array([1, "a"]), vectors=np.array([[1], [2]], np.float32), payloads=(b"{}", None))
    assert points_to_bytes(points).hex() == "0a090a01021201611a0101120c080112080000803f000000401a027b7d1a00"


@settings(deadline=None)
@given(point_columns())
def test_points_of_a_request_are_forwarded_as_they_came(points: PointColumns) -> None:
    got = points_from_request(points_to_message(points))
    assert got.encoded is not None
    assert got.encoded() == points_to_bytes(points)


@settings(deadline=None)
@given(named_points())
def test_the_bytes_of_named_vectors_are_those_of_a_message_made_by_protobuf(points: PointColumns) -> None:
    message = points_to_message(points)
    assert points_to_bytes(points) == message.SerializeToString()
    assert not message.HasField("vectors")


@settings(deadline=None)
@given(named_points())
def test_named_vectors_are_never_forwarded_as_they_came_nor_read_from_a_log(points: PointColumns) -> None:
    message = points_to_message(points)
    got = points_from_request(message)
    assert got.encoded is None
    assert same_named(got.named, points.named)
    assert same_ids(got.ids, points.ids)
    with pytest.raises(InvalidArgument, match="no vectors without names"):
        points_from_bytes(message.SerializeToString())


def test_a_part_of_the_points_does_not_keep_the_bytes_of_all() -> None:
    points = points_from_bytes(points_to_bytes(PointColumns(ids=np.arange(3), vectors=np.ones((3, 2), np.float32), payloads=None)))
    part = points.take(np.array([2, 0]))
    assert part.encoded is None
    assert points_from_bytes(points_to_bytes(part)).ids.tolist() == [2, 0]


def test_vectors_given_as_numbers_are_kept_as_data() -> None:
    message = common_pb2.PointBatch(ids=common_pb2.PointIds(integers=[7]), vectors=common_pb2.Vectors(dim=2, values=[1.0, 2.0]))
    points = points_from_request(message)
    kept = common_pb2.PointBatch.FromString(points_to_bytes(points))
    assert (points.encoded, len(kept.vectors.values), np.frombuffer(kept.vectors.data, "<f4").tolist()) == (None, 0, [1.0, 2.0])


def test_fields_of_a_newer_client_are_not_kept() -> None:
    plain = points_to_bytes(PointColumns(ids=np.arange(1), vectors=np.ones((1, 1), np.float32), payloads=None))
    newer = common_pb2.PointBatch.FromString(plain + b"\xfa\x01\x01x")
    assert points_to_bytes(points_from_request(newer)) == plain


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05", b"\x1a\x01\xff"])
def test_bytes_that_are_no_points_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        points_from_bytes(data)
