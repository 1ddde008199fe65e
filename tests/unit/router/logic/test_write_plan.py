from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import Unavailable
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.points import PointColumns, PointId, id_array
from shoal.core.shard_config import ShardEntry
from shoal.core.slots import slot_of, split_evenly
from shoal.router.logic.write_plan import parts_of
from tests.twins.cluster import shard_entry

point_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=8))


def entries(count: int) -> list[ShardEntry]:
    return [shard_entry(ShardId(CollectionId("c"), number), [WorkerId("w")], slots) for number, slots in enumerate(split_evenly(count))]


@settings(deadline=None)
@given(ids=st.lists(point_ids, min_size=1, max_size=40), shards=st.integers(1, 7))
def test_every_point_goes_to_the_owner_of_its_slot_once_and_in_order(ids: list[PointId], shards: int) -> None:
    ranges = split_evenly(shards)
    points = PointColumns(
        ids=id_array(ids),
        vectors=np.arange(len(ids), dtype=np.float32)[:, None],
        payloads=tuple(b"%d" % at for at in range(len(ids))),
    )
    expected: dict[int, list[int]] = {}
    for at, value in enumerate(ids):
        owner = next(number for number, part in enumerate(ranges) if part.start <= slot_of(value) < part.end)
        expected.setdefault(owner, []).append(at)
    got = {part.number: part.of_points(points) for part in parts_of(points.ids, entries(shards), "a")}
    assert {number: part.vectors[:, 0].astype(int).tolist() for number, part in got.items()} == expected
    for number, part in got.items():
        assert part.ids.tolist() == [ids[at] for at in expected[number]]
        assert part.payloads == tuple(b"%d" % at for at in expected[number])


def test_parts_come_by_number() -> None:
    parts = parts_of(id_array(range(200)), entries(5), "a")
    assert [part.number for part in parts] == [0, 1, 2, 3, 4]


def test_one_shard_copies_nothing() -> None:
    points = PointColumns(ids=id_array([1, 2]), vectors=np.ones((2, 1), dtype=np.float32), payloads=None)
    (part,) = parts_of(points.ids, entries(1), "a")
    assert part.of_points(points) is points


def test_a_slot_without_an_owner_is_unavailable_and_names_the_id() -> None:
    ids = id_array(range(100))
    with pytest.raises(Unavailable, match=r"'a' owns the slot of ids\[") as caught:
        parts_of(ids, entries(2)[:1], "a")
    assert slot_of(int(ids[caught.value.details.index])) >= 8192
