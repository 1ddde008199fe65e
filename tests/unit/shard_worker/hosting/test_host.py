import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ShardId
from shoal.core.shard_calls import ReplicaStatus, SnapshotProgress
from shoal.shard_worker.hosting.host import Host
from tests.support.worker.fleet import until
from tests.support.worker.replica_bench import SHARD, opened


def test_a_replica_that_leads_serves(tmp_path: Any) -> None:
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            status = await Host(open={SHARD: bench.replica}).status(1.0)
            assert status.serving == {str(SHARD)}
            (told,) = status.replicas.values()
            assert (list(status.replicas), told.replica, told.role) == ([str(SHARD)], bench.replica.id, "primary")
            assert told.applied_seq == bench.replica.stats_now().applied_seq >= 1

    asyncio.run(run())


def test_a_status_tells_what_each_replica_takes_builds_and_fetches(tmp_path: Any) -> None:
    async def run() -> None:
        async with opened(tmp_path, term=1, growing_rows=64) as bench:
            host = Host(open={SHARD: bench.replica}, memory=bench.memory)

            async def told() -> ReplicaStatus:
                return (await host.status(1.0)).replicas[str(SHARD)]

            empty = await told()
            await bench.upsert(range(100), np.ones((100, 4)))
            filled = await told()
            assert 0 < filled.memory_bytes == bench.memory.lasting_bytes_of(SHARD) < bench.memory.replica_bytes()[SHARD]
            assert filled.disk_bytes == bench.engine.size_bytes() > empty.disk_bytes
            await until(lambda: bench.replica.stats_now().sealed_rows and not bench.replica.status.builds_pending)
            assert (await told()).builds_pending == 0
            await bench.upsert(range(100, 300), np.ones((200, 4)))
            assert (await told()).builds_pending > 0
            await until(lambda: not bench.replica.status.builds_pending)
            assert (await told()).snapshot is None
            progress = SnapshotProgress(done_bytes=1, total_bytes=2, bytes_per_s=3.0)
            host.fetches[bench.replica.id] = lambda: progress
            assert (await told()).snapshot == progress

    asyncio.run(run())


@pytest.mark.parametrize("role", [each for each in ReplicaRole if each is not ReplicaRole.PRIMARY])
def test_others_do_not(role: ReplicaRole) -> None:
    replica: Any = SimpleNamespace(failure=None, status=SimpleNamespace(role=role))
    assert asyncio.run(Host(open={ShardId(CollectionId("c"), 0): replica}).status(1.0)).serving == frozenset()
