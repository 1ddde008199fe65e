"""Describes the whole cluster: asks every worker for its status and combines the answers with the map."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ShoalError
from shoal.core.ids import WorkerId
from shoal.core.replies import ClusterInfo
from shoal.core.shard_calls import WorkerStatus
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.health import cluster_health


class Overview:
    """State of the cluster. status_timeout_s: how long one worker may take to answer.

    insecure: this router listens beyond loopback without TLS. not_after: returns when its certificate expires, in
    seconds since 1970; None without TLS.
    """

    def __init__(
        self,
        *,
        view: ClusterView,
        workers: Workers,
        status_timeout_s: float,
        insecure: bool = False,
        not_after: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._view, self._workers, self._status_timeout_s = view, workers, status_timeout_s
        self._insecure, self._not_after = insecure, not_after

    async def describe(self, timeout_s: float) -> ClusterInfo:
        """Return the state of every worker and shard.

        A worker that does not answer in time is reported as unreachable; that is no error.
        """
        cluster, each_s = self._view.current, min(timeout_s, self._status_timeout_s)
        async with asyncio.TaskGroup() as group:
            asked = {worker: group.create_task(self._status(cluster, worker, each_s)) for worker in cluster.workers}
        health = cluster_health(cluster, {worker: task.result() for worker, task in asked.items()})
        return replace(health, insecure=self._insecure, certificate_not_after=self._not_after())

    async def _status(self, cluster: ClusterMap, worker: WorkerId, timeout_s: float) -> WorkerStatus | ShoalError:
        try:
            return await self._workers.service(cluster, worker).status(timeout_s)
        except ShoalError as error:
            return error
