"""Test what the builds of one replica leave to other replicas."""

import asyncio
import threading

import numpy as np

from shoal.shard_worker.replica.engine import Engine
from tests.support.worker.replica_bench import DIM, opened

RNG = np.random.default_rng(7)


def test_other_replicas_may_build_while_the_files_that_a_build_replaced_are_deleted(tmp_path, monkeypatch):
    sweeping, may_go_on, sweep = threading.Event(), threading.Event(), Engine.sweep

    def slow(engine):
        sweeping.set()
        may_go_on.wait(20)
        sweep(engine)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(100), RNG.normal(size=(100, DIM)).astype(np.float32))
            monkeypatch.setattr(Engine, "sweep", slow)
            optimizing = asyncio.create_task(bench.replica.optimize(60.0))
            try:
                assert await asyncio.to_thread(sweeping.wait, 20)
                async with asyncio.timeout(20), bench.pools.build_turn(asyncio.Event()) as taken:
                    assert taken
                    assert (await bench.replica.stats()).builds_pending == 1
            finally:
                may_go_on.set()
            await optimizing
            assert (await bench.replica.stats()).builds_pending == 0

    asyncio.run(run())
