from __future__ import annotations

from hypothesis import given, settings

from shoal.core.points import PointColumns, PointId, id_array
from shoal.wire.records import delete_body, ids_of_body, points_of_body, upsert_body
from tests.unit.shoal.wire.strategies import id_lists, point_columns, same_ids, same_matrix, same_payloads


@settings(deadline=None)
@given(point_columns())
def test_points_come_back_from_a_record(points: PointColumns) -> None:
    got = points_of_body(upsert_body(points))
    assert same_ids(got.ids, points.ids)
    assert same_matrix(got.vectors, points.vectors)
    assert same_payloads(got.payloads, points.payloads)


@settings(deadline=None)
@given(id_lists)
def test_ids_come_back_from_a_record(ids: list[PointId]) -> None:
    assert same_ids(ids_of_body(delete_body(id_array(ids))), id_array(ids))


def test_the_bytes_of_a_record_are_pinned() -> None:
    """Records lie on disk: a change here is a change of the log format."""
    assert delete_body(id_array([1, "a", -1])).hex() == "0a0202011201611a0101"
