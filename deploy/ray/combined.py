"""A worker and a router in one process: the router calls the worker's replicas without the network."""

from __future__ import annotations

import asyncio

from shoal.deploy.processes.ports import await_port_free
from shoal.router.server import RouterRole
from shoal.router.settings import RouterSettings
from shoal.shard_worker.resources.builders import Runner
from shoal.shard_worker.server import WorkerRole
from shoal.shard_worker.settings import WorkerSettings

PORT_TIMEOUT_S = 20.0
"""Time in seconds for an earlier router, whose process is ending, to free the public port."""


class CombinedRole:
    """A router and a worker as one role. The worker starts first and stops last."""

    def __init__(self, *, worker: WorkerSettings, router: RouterSettings, runner: Runner | None = None) -> None:
        """runner: see WorkerRole."""
        self._worker = WorkerRole(worker, runner)
        self._router_settings = router
        self._router: RouterRole | None = None

    async def start(self) -> None:
        """See Role."""
        await self._worker.start()
        router = self._router_settings
        await await_port_free(router.host, router.port, PORT_TIMEOUT_S)
        if router.http_port > 0:
            await await_port_free(router.host, router.http_port, PORT_TIMEOUT_S, "--http-port")
        self._router = RouterRole(self._router_settings, local={self._worker.worker_id: self._worker.host}, metrics=self._worker.metrics)
        await self._router.start()

    async def failed(self) -> None:
        """See Role. If one of the two fails, both fail."""
        assert self._router is not None
        watched = {asyncio.create_task(self._worker.failed()), asyncio.create_task(self._router.failed())}
        try:
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in watched:
                each.cancel()
            await asyncio.gather(*watched, return_exceptions=True)

    async def stop(self) -> None:
        """See Role."""
        try:
            if self._router is not None:
                await self._router.stop()
        finally:
            await self._worker.stop()

    def hasten(self) -> None:
        """See HastenedRole."""
        self._worker.hasten()
