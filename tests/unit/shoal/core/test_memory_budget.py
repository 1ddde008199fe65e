from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.memory_budget import MemoryLimit, memory_budget, replica_rooms
from shoal.core.sizing import REPLICA_BASE_BYTES

limits = st.lists(
    st.builds(MemoryLimit, name=st.just("it"), limit_bytes=st.integers(1, 1 << 45), taken_bytes=st.integers(1, 1 << 40)),
    min_size=1,
    max_size=5,
)


def limit(name: str, size: int, taken: int) -> MemoryLimit:
    return MemoryLimit(name=name, limit_bytes=size, taken_bytes=taken)


def test_a_part_of_what_the_tightest_limit_leaves() -> None:
    found = memory_budget(
        [limit("machine", 8000, 100), limit("container", 1100, 100), limit("process", 3000, 2500)], percent=80, given_bytes=0
    )
    assert (found.budget_bytes, found.why) == (400, "80 % of what process leaves")


def test_what_is_given_counts() -> None:
    found = memory_budget([limit("machine", 100, 9), limit("container", 70, 9)], percent=75, given_bytes=77)
    assert (found.budget_bytes, found.beyond) == (77, "container")
    assert memory_budget([limit("machine", 100, 9)], percent=75, given_bytes=91).beyond == ""


def test_a_process_beyond_its_limit_may_use_nothing() -> None:
    assert memory_budget([limit("container", 50, 60)], percent=75, given_bytes=0).budget_bytes == 0


@given(limits, st.floats(1, 100))
def test_the_budget_and_the_process_itself_stay_within_every_limit(found: list[MemoryLimit], percent: float) -> None:
    budget = memory_budget(found, percent=percent, given_bytes=0).budget_bytes
    assert budget >= 0
    assert all(budget + each.taken_bytes <= max(each.limit_bytes, each.taken_bytes) for each in found)


def test_rooms_for_replicas() -> None:
    assert replica_rooms(0, 3) is None
    assert replica_rooms(10 * REPLICA_BASE_BYTES, 3 * REPLICA_BASE_BYTES) == 7
    assert replica_rooms(10 * REPLICA_BASE_BYTES, 3 * REPLICA_BASE_BYTES + 1) == 6
    assert replica_rooms(REPLICA_BASE_BYTES - 1, 0) == 0
    assert replica_rooms(REPLICA_BASE_BYTES, 3 * REPLICA_BASE_BYTES) == 0
