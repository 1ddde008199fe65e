import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shard_worker.host import Host
from shoal.core.ids import CollectionId, ShardId
from tests.unit.shard_worker.replica_bench import SHARD, opened


def test_a_replica_that_leads_serves(tmp_path: Any) -> None:
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            assert (await Host(open={SHARD: bench.replica}).status(1.0)).serving == {str(SHARD)}

    asyncio.run(run())


@pytest.mark.parametrize("role", ["starting", "waiting", "backup", "failed"])
def test_others_do_not(role: str) -> None:
    replica: Any = SimpleNamespace(role=role, failure=None)
    assert asyncio.run(Host(open={ShardId(CollectionId("c"), 0): replica}).status(1.0)).serving == frozenset()
