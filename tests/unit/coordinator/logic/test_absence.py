from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.coordinator.logic.absence import Absences
from shoal.core.ids import CollectionId, ShardId, WorkerId
from tests.twins.coordinator.world import map_of, shard_config, worker_entry

SHARD = ShardId(CollectionId("c"), 0)
CONFIG = shard_config(SHARD, {"r0": "w0", "r1": "w1"}, isr=["r0"])


def test_only_workers_that_hold_replicas_are_missed_and_from_when_that_was_first_seen() -> None:
    first = Absences().seen(map_of([], [CONFIG], [worker_entry("w0")]), 10.0)
    again = first.seen(map_of([], [CONFIG], [worker_entry("w0")]), 15.0)
    assert again.absent_s(17.0) == {"w1": 7.0}
    assert again.seen(map_of([], [], []), 18.0).absent_s(18.0) == {}


def test_who_comes_back_begins_anew() -> None:
    gone = Absences().seen(map_of([], [CONFIG], [worker_entry("w0")]), 10.0)
    back = gone.seen(map_of([], [CONFIG], [worker_entry("w0"), worker_entry("w1")]), 20.0)
    assert back.absent_s(20.0) == {}
    assert back.seen(map_of([], [CONFIG], [worker_entry("w0")]), 30.0).absent_s(31.0) == {"w1": 1.0}


def test_the_next_one_that_is_due() -> None:
    one = Absences().seen(map_of([], [CONFIG], [worker_entry("w0")]), 10.0)
    both = one.seen(map_of([], [CONFIG], []), 14.0)
    assert Absences().next_due_s(14.0, 6.0) is None
    assert both.next_due_s(14.0, 6.0) == 2.0
    assert both.next_due_s(16.0, 6.0) == 4.0, "who is overdue is no news"
    assert both.next_due_s(20.0, 6.0) is None


@given(seen=st.lists(st.tuples(st.sets(st.sampled_from(["w0", "w1", "w2"])), st.floats(0.0, 10.0)), min_size=1))
def test_it_agrees_with_looking_through_all_that_was_seen(seen: list[tuple[set[str], float]]) -> None:
    config = shard_config(SHARD, {"r0": "w0", "r1": "w1"}, isr=["r0"])
    absences, now, since = Absences(), 0.0, dict[WorkerId, float]()
    for live, passed_s in seen:
        now += passed_s
        absences = absences.seen(map_of([], [config], [worker_entry(name) for name in live]), now)
        since = {WorkerId(name): since.get(WorkerId(name), now) for name in ("w0", "w1") if name not in live}
        assert absences.absent_s(now) == {worker: now - at for worker, at in since.items()}
