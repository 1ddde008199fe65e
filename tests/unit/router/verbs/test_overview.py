from __future__ import annotations

import asyncio

from shoal.core.errors import DeadlineExceeded
from shoal.router.verbs.overview import Overview
from tests.twins.cluster import MEMORY_BYTES, TwinCluster


def test_every_worker_is_asked_with_a_short_deadline_and_one_that_is_silent_is_no_error() -> None:
    cluster = TwinCluster()
    cluster.add("a", shards=2)
    cluster.workers["w1"].before = [DeadlineExceeded("1 s passed")]
    health = asyncio.run(cluster.router.overview.describe(10.0))
    assert [(each.id, each.state, each.memory) for each in health.workers] == [("w0", "up", MEMORY_BYTES), ("w1", "unreachable", 0)]
    assert [(each.shard, each.state, each.detail) for each in health.shards] == [
        (0, "ok", ""),
        (1, "no primary", "worker w1 is unreachable: 1 s passed"),
    ]
    assert cluster.workers["w0"].timeouts == [1.0]


def test_the_time_of_the_caller_bounds_the_questions() -> None:
    cluster = TwinCluster(workers=1)
    asyncio.run(cluster.router.overview.describe(0.3))
    assert cluster.workers["w0"].timeouts == [0.3]


def test_a_router_tells_of_its_own_port() -> None:
    cluster = TwinCluster(workers=1)
    ends = iter((7, 8))
    parts = {"view": cluster.view, "workers": cluster.router.overview._workers, "status_timeout_s": 1.0}
    overview = Overview(**parts, insecure=True, not_after=lambda: next(ends))
    told = [asyncio.run(overview.describe(1.0)) for _ in range(2)]
    assert [(each.insecure, each.certificate_not_after) for each in told] == [(True, 7), (True, 8)]
    plain = asyncio.run(cluster.router.overview.describe(1.0))
    assert (plain.insecure, plain.certificate_not_after) == (False, None)
