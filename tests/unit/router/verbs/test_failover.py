"""Test that a failover costs a call only time: writes and primary reads go on at the next primary. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, NotFound, ShoalError, Unavailable
from shoal.core.ids import CollectionId, RequestId, ShardId
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Written
from shoal.core.requests import Count, ReadAs, Upsert
from shoal.core.shard_calls import Consistency
from shoal.router.cluster.workers import tend
from shoal.router.shards.under_way import UnderWay
from tests.twins.cluster import TwinCluster
from tests.twins.virtual_time import FakeClock, run

SHARD = ShardId(CollectionId("id-a"), 0)
POINTS = PointColumns(ids=id_array([1, 2, 3]), vectors=np.ones((3, 4), dtype=np.float32), payloads=None)
ME = RequestId("me", 1)


def replicated(replicas: int = 3) -> TwinCluster:
    cluster = TwinCluster(workers=3, clock=FakeClock())
    cluster.add("a", shards=1, replicas=replicas)
    return cluster


async def upsert(cluster: TwinCluster, timeout_s: float = 60.0) -> Written:
    return await cluster.router.writes.upsert(Upsert(collection="a", points=POINTS, request_id=ME), timeout_s)


async def count(cluster: TwinCluster) -> int:
    read = ReadAs(consistency=Consistency.PRIMARY)
    return await cluster.router.reads.count(Count(collection="a", read=read), 60.0)


def took_s(cluster: TwinCluster, call: Callable[[TwinCluster], Awaitable[object]], *events: tuple[float, Callable[[], None]]) -> float:
    """Return the seconds that the call took. events: (seconds after the beginning of the call, what happens then)."""

    async def work() -> float:
        started = cluster.clock.now
        tending = asyncio.create_task(tend((*cluster.router.tended, cluster.calls), cluster.view))
        loop = asyncio.get_running_loop()
        for after_s, event in events:
            loop.call_later(after_s, event)
        try:
            await call(cluster)
            return cluster.clock.now - started
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)

    return run(cluster.clock, work())


@pytest.mark.parametrize("call", [upsert, count])
def test_a_call_on_a_frozen_primary_ends_when_the_map_shows_another_one(call: Callable[[TwinCluster], Awaitable[object]]) -> None:
    cluster = replicated()
    cluster.workers["w0"].frozen = True
    assert took_s(cluster, call, (3.0, lambda: cluster.lead(SHARD, "w1"))) == pytest.approx(3.0, abs=0.05)
    assert len(cluster.workers["w1"].calls) == 1


def test_the_write_goes_on_by_its_request_id_at_the_next_primary() -> None:
    cluster = replicated()
    cluster.workers["w0"].frozen = True
    took_s(cluster, upsert, (3.0, lambda: cluster.lead(SHARD, "w1")))
    calls = [worker.calls[0] for worker in list(cluster.workers.values())[:2]]
    assert [call.request_id for call in calls] == [ME, ME]
    assert set(cluster.points()) == {1, 2, 3}


def test_a_write_that_was_applied_by_the_old_primary_is_not_applied_again() -> None:
    cluster = replicated()
    cluster.workers["w0"].after = [Unavailable("the primary stepped down; the write may have been applied")]
    took_s(cluster, upsert, (0.01, lambda: cluster.lead(SHARD, "w1")))
    assert next(iter(cluster.workers["w1"].shards.values())).seq == 2


def test_primaries_of_other_shards_that_change_meanwhile_do_not_lengthen_the_wait() -> None:
    cluster = replicated()
    cluster.add("b", shards=8, replicas=3)
    stepped_down, starting = Unavailable("it has stepped down"), Unavailable("it does not serve yet")
    cluster.workers["w0"].before = [stepped_down] * 20
    cluster.workers["w1"].before = [starting] * 3
    others = [(0.001 * number, lambda number=number: cluster.lead(ShardId(CollectionId("id-b"), number), "w1")) for number in range(8)]
    took = took_s(cluster, upsert, *others, (0.010, lambda: cluster.lead(SHARD, "w1")))
    assert took == pytest.approx(0.010 + 0.02 + 0.04 + 0.08, abs=0.03)


def test_a_change_of_members_leaves_calls_on_the_primary_alone() -> None:
    cluster = replicated()
    cluster.workers["w0"].delay_s = 2.0
    members = cluster.view.current.shards[SHARD].config.isr[:2]
    assert took_s(cluster, upsert, (1.0, lambda: cluster.configure(SHARD, isr=members))) == pytest.approx(2.0)
    assert len(cluster.workers["w0"].calls) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Unavailable("connection refused"),
        Unavailable("this replica is not the serving primary (backup)", ErrorDetails(applied={str(SHARD): "no"})),
        Unavailable("another epoch", ErrorDetails(shard=str(SHARD))),
        DataLoss("the replica has FAILED: crc", ErrorDetails(shard=str(SHARD))),
    ],
)
@pytest.mark.parametrize("call", [upsert, count])
def test_whatever_a_primary_that_fails_says_the_next_one_is_waited_for(
    refusal: ShoalError, call: Callable[[TwinCluster], Awaitable[object]]
) -> None:
    cluster = replicated()
    cluster.workers["w0"].before = [refusal] * 1_000
    assert took_s(cluster, call, (1.5, lambda: cluster.lead(SHARD, "w1"))) == pytest.approx(1.5, abs=0.05)


def test_a_worker_that_leaves_the_map_is_waited_for_until_another_leads() -> None:
    cluster = replicated()
    cluster.workers["w0"].before = [Unavailable("connection reset")]
    events = [(0.01, lambda: cluster.remove_worker("w0")), (1.0, lambda: cluster.lead(SHARD, "w2"))]
    assert took_s(cluster, upsert, *events) == pytest.approx(1.0, abs=0.05)


def test_damage_of_the_only_replica_is_told_at_once() -> None:
    cluster = replicated(replicas=1)
    cluster.workers["w0"].before = [DataLoss("crc")]
    with pytest.raises(DataLoss):
        took_s(cluster, upsert)
    assert cluster.clock.now == 100.0


def test_a_write_that_nobody_acknowledges_until_the_end_may_have_been_applied() -> None:
    cluster = replicated()
    cluster.workers["w0"].frozen = True
    with pytest.raises(DeadlineExceeded) as caught:
        took_s(cluster, lambda each: upsert(each, 5.0))
    assert caught.value.details.applied == {"a/0": "maybe"}


def test_a_write_given_up_for_a_primary_that_never_serves_may_have_been_applied() -> None:
    cluster = replicated()
    cluster.workers["w0"].frozen = True
    cluster.workers["w1"].before = [Unavailable("not ready", ErrorDetails(applied={str(SHARD): "no"}))] * 1_000
    with pytest.raises(Unavailable) as caught:
        took_s(cluster, lambda each: upsert(each, 5.0), (1.0, lambda: cluster.lead(SHARD, "w1")))
    assert caught.value.details.applied == {"a/0": "maybe"}


def test_a_call_on_a_shard_that_was_dropped_ends() -> None:
    cluster = replicated()
    cluster.workers["w0"].frozen = True
    with pytest.raises(NotFound):
        took_s(cluster, upsert, (1.0, lambda: cluster.change(collections={}, shards={})))
    assert cluster.clock.now == pytest.approx(101.0)


def test_what_is_given_up_is_unavailable_and_what_is_not_ends_as_it_ends() -> None:
    async def work() -> None:
        under_way, stands = UnderWay(), asyncio.Event()

        async def waiting() -> str:
            await stands.wait()
            return "done"

        async def late() -> str:
            raise TimeoutError("its own")

        given_up = asyncio.create_task(under_way.run(SHARD, lambda _: False, waiting()))
        kept = asyncio.create_task(under_way.run(SHARD, lambda _: True, waiting()))
        await asyncio.sleep(0)
        await under_way.keep(ClusterMap())
        await under_way.keep(ClusterMap())
        with pytest.raises(Unavailable, match="may not answer any more"):
            await given_up
        assert not kept.done()
        stands.set()
        assert await kept == "done"
        with pytest.raises(TimeoutError, match="its own"):
            await under_way.run(SHARD, lambda _: False, late())
        await under_way.keep(ClusterMap())

    asyncio.run(work())


def test_a_caller_that_is_cancelled_stays_cancelled() -> None:
    async def work() -> None:
        under_way = UnderWay()
        asking = asyncio.create_task(under_way.run(SHARD, lambda _: False, asyncio.sleep(60)))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(work())
