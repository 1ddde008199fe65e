"""Which open stores are closed: the unused ones, the least recently used first, and never one in use."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.idle_stores import REFUSED_REST_S, stores_to_rest

NOW_S, IDLE_S = 100.0, 10.0


@dataclass(frozen=True)
class Use:
    used_s: float
    users: int = 0
    resting: bool = False
    refused_s: float = -1000.0

    @property
    def free(self) -> bool:
        return not self.users and not self.resting and NOW_S - self.refused_s >= REFUSED_REST_S


USES = st.builds(
    Use,
    used_s=st.floats(0, NOW_S),
    users=st.sampled_from([0, 0, 1, 2]),
    resting=st.sampled_from([False, False, True]),
    refused_s=st.sampled_from([-1000.0, NOW_S - REFUSED_REST_S / 2, NOW_S - 2 * REFUSED_REST_S]),
)
OPENED = st.lists(USES, max_size=12).map(lambda uses: sorted(uses, key=lambda each: each.used_s))


def chosen(opened: list[Use], *, wanted: int = 0, most: int = 100, idle_s: float = IDLE_S) -> list[Use]:
    return stores_to_rest(opened, now_s=NOW_S, idle_s=idle_s, wanted=wanted, most=most)


def test_stores_without_use_for_long_are_closed():
    old, late = Use(used_s=NOW_S - IDLE_S), Use(used_s=NOW_S - IDLE_S + 0.1)
    assert chosen([old, late]) == [old]
    assert chosen([late]) == []
    assert chosen([]) == []


def test_when_room_is_wanted_the_least_recently_used_go_first():
    uses = [Use(used_s=NOW_S - age) for age in (3, 2, 1)]
    assert chosen(uses, wanted=2) == uses[:2]
    assert chosen([Use(used_s=0.0, users=1), *uses], wanted=1) == uses[:1]


def test_at_most_so_many_go_at_once():
    uses = [Use(used_s=float(number)) for number in range(5)]
    assert chosen(uses, most=2) == uses[:2]
    assert chosen(uses, most=0) == []


def test_a_store_that_could_not_be_closed_is_left_alone_for_a_moment():
    refused = Use(used_s=0.0, refused_s=NOW_S - REFUSED_REST_S / 2)
    other = Use(used_s=1.0)
    assert chosen([refused, other]) == [other]


@given(OPENED, st.integers(0, 5), st.integers(0, 8))
def test_it_is_as_by_looking_at_each_one(opened: list[Use], wanted: int, most: int):
    free = [each for each in opened if each.free]
    plainly = [each for number, each in enumerate(free) if number < wanted or NOW_S - each.used_s >= IDLE_S][:most]
    assert [id(each) for each in chosen(opened, wanted=wanted, most=most)] == [id(each) for each in plainly]
