from __future__ import annotations

import dataclasses
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.coordinator.logic.recovery import RecoveryPlan, Reports, plan_recovery
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardConfig, may_lead
from tests.twins.coordinator.world import shard_config, worker_entry

SHARD = ShardId(CollectionId("id-c"), 0)
HOMES = {"r0": "w0", "r1": "w1", "r2": "w2", "r3": "w3"}
CONFIG = shard_config(SHARD, HOMES, isr=["r0"], elr=["r1"], learners=["r2", "r3"], min_isr=2, rf=3, term=4)


def planned(
    live: Collection[str],
    ends: dict[str, tuple[int, int]],
    failed: Collection[str] = (),
    worker: str | None = None,
    config: ShardConfig = CONFIG,
) -> RecoveryPlan:
    workers = {WorkerId(name): worker_entry(name, at) for at, name in enumerate(sorted(live), 11)}
    told = {ReplicaId(replica): LogEnd(term=Term(term), seq=Seq(seq)) for replica, (term, seq) in ends.items()}
    reports = Reports(ends=told, failed=frozenset(map(WorkerId, failed)))
    return plan_recovery(config, "c/0", workers, reports, None if worker is None else WorkerId(worker))


def test_the_longest_log_of_those_that_are_left_is_believed_and_all_others_are_given_up() -> None:
    plan = planned(["w2", "w3"], {"r2": (3, 9), "r3": (4, 1)})
    assert plan.recovery.chosen.replica == "r3"
    assert (plan.config.primary, plan.config.primary_reg, plan.config.term) == ("r3", 12, 5)
    assert (plan.config.isr, plan.config.elr, plan.config.learners, plan.config.leaving) == (("r3",), (), (), ())
    assert dict(plan.config.worker_of) == {"r3": "w3"}
    assert (plan.config.rf, plan.config.min_isr, plan.config.slots) == (CONFIG.rf, CONFIG.min_isr, CONFIG.slots)
    told = [(each.replica, each.worker, each.role, each.end) for each in plan.recovery.given_up]
    assert told == [
        ("r0", "w0", "in sync, primary", None),
        ("r1", "w1", "eligible", None),
        ("r2", "w2", "learner", LogEnd(term=Term(3), seq=Seq(9))),
    ]
    assert plan.registrations == {"w3": 12}
    assert plan.absent == ("w0", "w1")


def test_a_replica_with_a_tombstone_is_not_believed_since_it_may_be_being_deleted() -> None:
    config = dataclasses.replace(CONFIG, learners=(ReplicaId("r2"),), leaving=(ReplicaId("r3"),))
    assert planned(["w2", "w3"], {"r2": (3, 9), "r3": (4, 1)}, config=config).recovery.chosen.replica == "r2"
    with pytest.raises(PreconditionFailed, match="no replica of shard c/0 answers"):
        planned(["w3"], {"r3": (4, 1)}, config=config)


def test_the_replica_of_a_named_worker_is_believed() -> None:
    plan = planned(["w2", "w3"], {"r2": (3, 9), "r3": (4, 1)}, worker="w2")
    assert (plan.recovery.chosen.replica, plan.config.primary_reg) == ("r2", 11)


@pytest.mark.parametrize("worker", ["w0", "w3", "w9"])
def test_a_named_worker_must_have_a_replica_that_answers(worker: str) -> None:
    with pytest.raises(PreconditionFailed, match=rf"worker {worker} has no replica of shard c/0 that answers \(those that do: w2\)"):
        planned(["w2", "w3"], {"r2": (3, 9)}, worker=worker)


def test_without_any_answer_no_replica_is_trusted() -> None:
    with pytest.raises(PreconditionFailed, match="no replica of shard c/0 answers"):
        planned(["w2"], {})


@pytest.mark.parametrize(
    ("ends", "failed", "said"),
    [
        ({"r1": (1, 1), "r2": (1, 1)}, (), "the one on worker w1 is there"),
        ({"r1": (1, 1), "r2": (1, 1)}, ("w1",), "the one on worker w1 is there"),
        ({"r2": (1, 1)}, (), "the one on worker w1 is being opened, or its worker does not answer"),
    ],
)
def test_as_long_as_one_that_may_lead_can_be_had_nothing_is_given_up(
    ends: dict[str, tuple[int, int]], failed: tuple[str, ...], said: str
) -> None:
    with pytest.raises(PreconditionFailed, match=said):
        planned(["w1", "w2"], ends, failed)


def test_a_replica_whose_worker_says_that_it_does_not_work_is_lost_and_relied_on_to_be() -> None:
    plan = planned(["w1", "w2"], {"r2": (1, 1)}, failed=["w1"])
    assert plan.recovery.chosen.replica == "r2"
    assert plan.registrations == {"w1": 11, "w2": 12}
    assert plan.absent == ("w0",)


@given(
    live=st.sets(st.sampled_from(sorted(HOMES.values()))),
    ends=st.dictionaries(st.sampled_from(sorted(HOMES)), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    failed=st.sets(st.sampled_from(sorted(HOMES.values()))),
    worker=st.sampled_from([None, *sorted(HOMES.values())]),
)
def test_only_when_all_that_may_lead_are_lost_somebody_else_does(
    live: set[str], ends: dict[str, tuple[int, int]], failed: set[str], worker: str | None
) -> None:
    to_be_had = [each for each in ("r0", "r1") if HOMES[each] in live and (each in ends or HOMES[each] not in failed)]
    there = [each for each in ends if HOMES[each] in live]
    possible = not to_be_had and there and (worker is None or worker in {HOMES[each] for each in there})
    try:
        plan = planned(live, ends, failed, worker)
    except PreconditionFailed:
        assert not possible
        return
    assert possible
    chosen = plan.config.primary
    assert not may_lead(CONFIG, chosen)
    assert chosen in there
    assert HOMES[chosen] == worker or (worker is None and ends[chosen] == max(ends[each] for each in there))
    assert {chosen, *(each.replica for each in plan.recovery.given_up)} == set(HOMES)
    assert set(plan.absent) | (set(plan.registrations) - {WorkerId(HOMES[chosen])}) == {"w0", "w1"}
