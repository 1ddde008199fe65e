import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ShardId
from shoal.shard_worker.hosting.host import Host
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


@pytest.mark.parametrize("role", [each for each in ReplicaRole if each is not ReplicaRole.PRIMARY])
def test_others_do_not(role: ReplicaRole) -> None:
    replica: Any = SimpleNamespace(failure=None, status=SimpleNamespace(role=role))
    assert asyncio.run(Host(open={ShardId(CollectionId("c"), 0): replica}).status(1.0)).serving == frozenset()
