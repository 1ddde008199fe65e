"""The connection of a lease keeper to etcd: blocking calls on channels of its own, so that no event loop is in its way.

It is not grpc.aio because every event loop of a process that uses grpc.aio is woken by one shared queue of completions: a
second loop on the keeper's thread would depend on what it must be independent of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from shoal.store import etcd_rpc_pb2 as rpc
from shoal.store import etcd_rpc_pb2_grpc as stubs
from shoal.store.endpoint_order import EndpointOrder
from shoal.store.etcd_channels import METADATA, channel_options
from shoal.store.etcd_settings import EtcdSettings
from shoal.store.etcd_verdict import failed_read
from shoal.store.interface import LeaseId, LeaseNotFound, StoreUnavailable

Answer = TypeVar("Answer")


class EtcdLeaseConnection:
    """LeaseConnection over etcd. Both of its calls may be repeated, so both go on to the next endpoint after any failure."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._order = EndpointOrder(len(settings.endpoints))
        self._channels: dict[int, grpc.Channel] = {}

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See LeaseConnection."""
        return self._over_endpoints(lambda lease, left_s: _renewed(lease, lease_id, left_s), timeout_s)

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See LeaseConnection."""
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        try:
            self._over_endpoints(lambda lease, left_s: lease.LeaseRevoke(request, timeout=left_s, metadata=METADATA), timeout_s)
        except LeaseNotFound:
            return

    def close(self) -> None:
        """See LeaseConnection."""
        for channel in self._channels.values():
            channel.close()

    def _over_endpoints(self, attempt: Callable[[Any, float], Answer], timeout_s: float) -> Answer:
        deadline = time.monotonic() + timeout_s
        attempts = self._order.attempts()
        failure = StoreUnavailable(f"no time was left for a call to etcd ({timeout_s:.3g} s)")
        for position, index in enumerate(attempts):
            share_s = (deadline - time.monotonic()) / (len(attempts) - position)
            if share_s <= 0:
                break
            try:
                answer = self._ask(attempt, index, share_s)
            except StoreUnavailable as error:
                failure = error
                self._order.failed(index)
            else:
                self._order.worked(index)
                return answer
        raise failure

    def _ask(self, attempt: Callable[[Any, float], Answer], index: int, timeout_s: float) -> Answer:
        lease = stubs.LeaseStub(self._channel(index))  # type: ignore[no-untyped-call]
        try:
            return attempt(lease, timeout_s)
        except grpc.RpcError as error:
            raise failed_read(self._settings.endpoints[index], error.code().name, error.details() or "") from None

    def _channel(self, index: int) -> grpc.Channel:
        if index not in self._channels:
            self._channels[index] = grpc.insecure_channel(self._settings.endpoints[index], options=channel_options(self._settings))
        return self._channels[index]


def _renewed(lease: Any, lease_id: LeaseId, timeout_s: float) -> int:
    request = rpc.LeaseKeepAliveRequest(ID=lease_id)
    call = lease.LeaseKeepAlive(iter((request,)), timeout=timeout_s, metadata=METADATA)
    try:
        for answer in call:
            return int(answer.TTL)
    finally:
        call.cancel()
    raise StoreUnavailable(f"etcd ended the renewal of lease {lease_id:x} without an answer")
