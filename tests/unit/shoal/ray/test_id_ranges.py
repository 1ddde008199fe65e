"""Ranges of ids: together they hold every id once, also those that come and go after the cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.points import PointId, id_order
from shoal.ray.id_ranges import IdRange, ranges_of

ids_of_points = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=3)), unique=True, max_size=60)


def inside(part: IdRange, point_id: PointId) -> bool:
    return (part.after is None or id_order(point_id) > id_order(part.after)) and not part.ends_before(point_id)


@given(ids_of_points, st.integers(1, 12), st.integers(0, 80), ids_of_points)
def test_each_id_is_in_one_range_whatever_was_counted(ids: list[PointId], parts: int, count: int, later: list[PointId]) -> None:
    ranges = ranges_of(iter(sorted(ids, key=id_order)), count, parts)
    assert 1 <= len(ranges) <= parts
    assert sum(each.points for each in ranges) == len(ids)
    for point_id in (*ids, *later):
        assert [inside(each, point_id) for each in ranges].count(True) == 1


@given(st.integers(1, 500), st.integers(1, 20))
def test_ranges_are_as_even_as_can_be(count: int, parts: int) -> None:
    ranges = ranges_of(iter(range(count)), count, parts)
    assert max(each.points for each in ranges) == -(-count // parts)
    assert all(each.points == -(-count // parts) for each in ranges[:-1])


def test_integers_come_before_strings() -> None:
    ranges = ranges_of([3, 7, "a", "b"], 4, 2)
    assert ranges == [IdRange(after=None, last=7, points=2), IdRange(after=7, last=None, points=2)]
    assert ranges[0].ends_before("A")
    assert not ranges[1].ends_before("z")


def test_no_points_are_one_open_range() -> None:
    assert ranges_of([], 0, 5) == [IdRange(after=None, last=None, points=0)]
