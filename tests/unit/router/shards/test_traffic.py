"""What calls on several shards say about a worker and about its replicas."""

from __future__ import annotations

import asyncio

import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.router.logic.breaker import FAILURES, Gate
from shoal.router.logic.replica_choice import ReplicaLoad
from shoal.router.shards.traffic import Traffic
from tests.twins.virtual_time import FakeClock

HOME = WorkerId("w")
SHARDS = tuple(ShardId(CollectionId("c"), number) for number in range(3))
NOT_READY = Unavailable("not ready", ErrorDetails(shard=str(SHARDS[1])))


class Watched:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.traffic = Traffic(clock=self.clock)

    @property
    def load(self) -> ReplicaLoad:
        return self.traffic.worker_loads([HOME], frozenset())[HOME]

    def answer(self, failed: dict[ShardId, ShoalError] | None = None, *, took_s: float = 0.01) -> None:
        sent = self.traffic.sent(SHARDS, HOME, probe=False)
        self.clock.now += took_s
        self.traffic.answered(sent, "search", failed or {})


def test_each_shard_of_a_call_is_a_read_under_way() -> None:
    watched = Watched()
    sent = watched.traffic.sent(SHARDS, HOME, probe=False)
    assert watched.load.in_flight == 3
    watched.traffic.given_up(sent)
    assert watched.load.in_flight == 0


@pytest.mark.parametrize("error", [NOT_READY, DataLoss("crc")])
def test_shards_that_keep_failing_open_their_own_breakers_and_not_that_of_their_worker(error: ShoalError) -> None:
    watched = Watched()
    for _ in range(FAILURES):
        watched.answer({SHARDS[1]: error})
    assert watched.traffic.gates()[HOME, SHARDS[1]] is Gate.SHUT
    assert watched.load.gate is Gate.PASSES
    assert watched.traffic.loads(SHARDS[1], [HOME], frozenset())[HOME].gate is Gate.SHUT
    assert watched.traffic.loads(SHARDS[0], [HOME], frozenset())[HOME].gate is Gate.PASSES


@pytest.mark.parametrize("error", [InvalidArgument("bad"), DeadlineExceeded("late")])
def test_errors_that_are_not_of_a_replica_do_not_count_against_it(error: ShoalError) -> None:
    watched = Watched()
    for _ in range(2 * FAILURES):
        watched.answer({SHARDS[1]: error})
    assert set(watched.traffic.gates().values()) <= {Gate.PASSES}


def test_a_shard_that_answers_again_has_failed_no_more() -> None:
    watched = Watched()
    for _ in range(4):
        watched.answer({SHARDS[1]: NOT_READY})
        watched.answer()
    assert watched.traffic.gates() == {}


def test_the_time_of_a_call_that_answered_no_shard_is_not_that_of_its_worker() -> None:
    watched = Watched()
    watched.answer(took_s=0.1)
    watched.answer(dict.fromkeys(SHARDS, NOT_READY), took_s=0.0)
    assert watched.load.latency_s == pytest.approx(0.1)
    watched.answer({SHARDS[1]: NOT_READY}, took_s=0.0)
    assert watched.load.latency_s is not None
    assert watched.load.latency_s < 0.1


def test_a_call_that_is_given_up_says_nothing_about_its_worker() -> None:
    watched = Watched()
    for _ in range(FAILURES):
        watched.traffic.failed(watched.traffic.sent(SHARDS, HOME, probe=False), Unavailable("refused"))
    sent = watched.traffic.sent(SHARDS, HOME, probe=False)
    heard_at = sent.traffic.heard_at
    watched.clock.now += 0.1
    watched.traffic.given_up(sent)
    assert (watched.load.gate, sent.traffic.heard_at) == (Gate.SHUT, heard_at)


def test_replicas_of_shards_that_are_gone_are_forgotten() -> None:
    watched = Watched()
    watched.answer({SHARDS[1]: NOT_READY})
    assert watched.traffic.gates() != {}
    asyncio.run(watched.traffic.keep(ClusterMap()))
    assert watched.traffic.gates() == {}
