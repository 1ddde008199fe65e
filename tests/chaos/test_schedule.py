"""Tests of the schedule: it keeps its rules for any seed, and the same seed gives the same faults."""

from __future__ import annotations

import itertools
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import WIPES, Fault, rounds

COUNTS = {"worker": 4, "coordinator": 2, "router": 2, "etcd": 1, "plan": 1, "newcomer": 1}


def drawn(seed: int, count: int, faults: list[Fault]) -> list[tuple]:
    return list(itertools.islice(rounds(Random(seed), faults, COUNTS, 2.0), count))


@given(st.integers(0, 1 << 32), st.sets(st.sampled_from(sorted(Fault)), min_size=1))
def test_rounds_keep_the_rules(seed, faults):
    listed = sorted(faults)
    made = drawn(seed, 60, listed)
    assert made == drawn(seed, 60, listed)
    assert {planned.fault for planned in itertools.chain(*made[: len(listed)])} >= set(listed)
    for each in made:
        assert 1 <= len(each) <= 2
        assert len({(planned.role, planned.target) for planned in each}) == len(each)
        assert len(each) == 1 or not any(planned.fault in WIPES for planned in each)
        for planned in each:
            assert planned.fault in faults
            assert 0 <= planned.target < COUNTS[planned.role]
            assert COUNTS[planned.role] == 1 or planned.other != planned.target
            assert planned.lasts_s <= 6.0


def test_two_faults_do_come_at_once_and_seeds_differ():
    assert any(len(each) == 2 for each in drawn(1, 50, list(Fault)))
    assert drawn(1, 10, list(Fault)) != drawn(2, 10, list(Fault))
