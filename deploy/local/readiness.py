"""Finds out what a cluster still lacks before it is ready. It asks the router over gRPC, with the certificate of the
roles where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shoal.core.errors import ShoalError, Unavailable
from shoal.core.health import ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.replies import ClusterInfo, ShardInfo
from shoal.core.requests import DescribeCluster
from shoal.runtime.role_settings import EtcdAccessSettings
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.keys import Keys
from shoal.wire.api_key import bearer_metadata
from shoal.wire.public_calls import METHODS, decoded
from shoal.wire.remote_call import call_remote_blocking
from shoal.wire.renewed_channel import internal_channel_of_one_call
from shoal.wire.tls import Tls

ASK_TIMEOUT_S = 2.0
_SHOWN = 3
_MESSAGE_BYTES = 256 * 1024 * 1024
"""More than the description of any cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """The state of a cluster as seen by a client. lacking: what is missing before it is ready; None for nothing.

    failed: a line for each shard that does not recover by itself. foreign: the router belongs to another cluster."""

    lacking: str | None
    failed: tuple[str, ...] = ()
    foreign: bool = False


class OwnId:
    """The id of our own cluster, from its etcd. etcd is asked at every call until there is an id."""

    def __init__(self, settings: EtcdAccessSettings, endpoints: tuple[str, ...]) -> None:
        self._settings, self._endpoints = settings, endpoints
        self._known: str | None = None

    def get(self) -> str | None:
        """Return the id; None before a coordinator has led, or while etcd does not answer."""
        if self._known is None:
            with contextlib.suppress(Unavailable):
                self._known = asyncio.run(self._ask())
        return self._known

    async def _ask(self) -> str | None:
        store = EtcdStore(etcd_settings(self._settings, self._endpoints))
        try:
            found = await store.get(Keys(self._settings.cluster_name).cluster, ASK_TIMEOUT_S)
        finally:
            await store.close()
        return found.value.decode("utf-8") if found is not None else None


def look(address: str, workers: int, own_id: str | None, tls: Tls | None = None, api_key: str = "") -> Outlook:
    """Return the state of the cluster of a router, which should have this id and number of workers.

    tls: certificates of the roles; None for plain text. api_key: "" for a router that asks for none. Takes up to a few
    seconds.
    """
    with internal_channel_of_one_call(address, _MESSAGE_BYTES, tls) as channel:
        if not _serves(channel, address):
            return Outlook(lacking="the router")
        try:
            info = _cluster(channel, address, api_key)
        except ShoalError as error:
            return Outlook(lacking=f"an answer of the router ({error.message})")
    if own_id is None or info.cluster_id != own_id:
        return Outlook(lacking="a coordinator that leads", foreign=own_id is not None and info.cluster_id != "")
    return Outlook(lacking=missing(info, workers), failed=failed_shards(info))


def missing(info: ClusterInfo, workers: int) -> str | None:
    """Return what the cluster lacks; None for nothing.

    Two kinds of shards are left out: a failed one, since only an operator can repair it, and one whose workers were not
    started. The other shards can serve, and in the meantime its replicas may be replaced.
    """
    if info.leader is None:
        return "a coordinator that leads"
    up = sum(worker.state is WorkerCondition.UP for worker in info.workers)
    if up < workers:
        return f"workers ({up} of {workers} are there)"
    waiting = [f"{shard.collection}/{shard.shard}" for shard in _not_ok(info) if not _needs_people(shard)]
    return f"shards that do not answer yet ({_few(waiting)})" if waiting else None


def failed_shards(info: ClusterInfo) -> tuple[str, ...]:
    """Return a line, name and reason, for each shard that needs an operator or a worker that was not started."""
    return tuple(f"{shard.collection}/{shard.shard}: {shard.detail}" for shard in _not_ok(info) if _needs_people(shard))


def _not_ok(info: ClusterInfo) -> list[ShardInfo]:
    return [shard for shard in info.shards if shard.state is not ShardCondition.OK]


def _needs_people(shard: ShardInfo) -> bool:
    cut_off = (ReplicationCondition.UNAVAILABLE, ReplicationCondition.READ_ONLY)
    return shard.state is ShardCondition.FAILED or shard.replication in cut_off


def _serves(channel: grpc.Channel, address: str) -> bool:
    try:
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = call_remote_blocking(check, health_pb2.HealthCheckRequest(), ASK_TIMEOUT_S, f"router at {address}")
    except ShoalError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _cluster(channel: grpc.Channel, address: str, api_key: str) -> ClusterInfo:
    method = METHODS[DescribeCluster]
    ask = channel.unary_unary(method.path, None, None)  # Without serializers, gRPC passes bytes.
    metadata = bearer_metadata(api_key) if api_key else ()
    answer = call_remote_blocking(ask, method.encode(DescribeCluster()), ASK_TIMEOUT_S, f"router at {address}", metadata)
    info: ClusterInfo = decoded(method, answer, address)
    return info


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
