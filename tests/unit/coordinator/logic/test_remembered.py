from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from shoal.coordinator.logic.remembered import Absences, Answers
from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.map_tables import ShardTable
from shoal.core.recovery import LogEnd
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

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


SHARD = ShardId(CollectionId("id-c"), 0)
W0, W1 = WorkerId("w0"), WorkerId("w1")
ASKED = {W0: (SHARD,), W1: (SHARD,)}
SILENT = Told()
CLOSED = Told(answered=frozenset({W1}))
OPEN = Told(ends={ReplicaId("r1"): LogEnd(term=Term(1), seq=Seq(4))}, answered=frozenset({W1}))


def cluster(**registrations: int) -> ClusterMap:
    config = shard_config(SHARD, {"r0": "w0", "r1": "w1"}, isr=["r0", "r1"])
    return map_of([collection_of("c", replicas=2)], [config], [worker_entry(name, at) for name, at in registrations.items()])


def closed(answers: Answers) -> set[str]:
    return set(answers.added_to(SILENT).closed)


def test_what_was_said_holds_through_silence() -> None:
    heard = Answers().heard(ASKED, CLOSED, cluster(w1=8))
    assert closed(heard) == {"r1"}
    assert closed(heard.heard(ASKED, SILENT, cluster(w1=8)).heard({}, SILENT, cluster(w0=3, w1=8))) == {"r1"}


def test_it_ends_with_another_answer_and_with_the_registration() -> None:
    heard = Answers().heard(ASKED, CLOSED, cluster(w1=8))
    assert closed(heard.heard(ASKED, OPEN, cluster(w1=8))) == set()
    assert closed(heard.heard(ASKED, SILENT, cluster(w1=9))) == set(), "another life of the worker may have opened it"
    assert closed(heard.heard(ASKED, SILENT, cluster(w0=8))) == set()


def test_nothing_is_known_of_who_was_not_asked_or_has_not_answered() -> None:
    assert closed(Answers().heard({W0: (SHARD,)}, CLOSED, cluster(w0=1, w1=8))) == set()
    assert closed(Answers().heard(ASKED, CLOSED, cluster(w0=1))) == set(), "it has ended meanwhile"
    other = ShardId(CollectionId("id-c"), 7)
    assert closed(Answers().heard({W1: (other,)}, CLOSED, cluster(w1=8))) == set(), "a shard that is no more"


def test_who_was_not_open_is_asked_again_while_it_may_lead() -> None:
    heard = Answers().heard(ASKED, CLOSED, cluster(w1=8))
    assert heard.to_ask_again(cluster(w1=8)) == {W1: (SHARD,)}
    assert heard.to_ask_again(cluster(w1=9)) == {}
    assert heard.heard(ASKED, OPEN, cluster(w1=8)).to_ask_again(cluster(w1=8)) == {}
    dropped = dataclasses.replace(cluster(w1=8), shards=ShardTable())
    assert heard.to_ask_again(dropped) == {}
    assert closed(heard.heard({}, SILENT, dropped)) == set(), "a shard that is no more"


def test_what_is_told_now_is_handed_on() -> None:
    told = Answers().heard(ASKED, CLOSED, cluster(w1=8)).added_to(OPEN)
    assert (told.ends, told.answered) == (OPEN.ends, OPEN.answered)
