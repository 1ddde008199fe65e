"""The public Cluster service: returns the state of the cluster."""

from __future__ import annotations

from typing import Any

from shoal.router.rpc.caller import timeout_of
from shoal.router.verbs.overview import Overview
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire.cluster import cluster_to_message
from shoal.wire.services import CLUSTER


class ClusterService:
    """The state of the cluster. Messages: see proto/shoal/v1/cluster.proto."""

    def __init__(self, *, overview: Overview, default_timeout_s: float) -> None:
        self._overview, self._default_timeout_s = overview, default_timeout_s

    async def Describe(self, request: Any, context: CallContext) -> Any:
        """Return every worker and shard."""
        return cluster_to_message(await self._overview.describe(timeout_of(context, self._default_timeout_s)))

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(CLUSTER, self)
