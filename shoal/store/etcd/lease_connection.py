"""The connection of a lease keeper to etcd: blocking calls on its own channels, so that it depends on no event loop.

It does not use grpc.aio. There, one queue of completions wakes all event loops of a process, so a second loop on the
keeper's thread would still depend on the main loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from shoal.core.deadline import Deadline
from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd import etcd_rpc_pb2_grpc as stubs
from shoal.store.etcd.channels import EndpointOrder, channel_options
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.token import EtcdToken
from shoal.store.etcd.verdict import StaleToken, failed_login, failed_read
from shoal.store.interface import LeaseId, LeaseNotFound, StoreUnavailable
from shoal.wire.channels import open_channel

Answer = TypeVar("Answer")
Metadata = tuple[tuple[str, str], ...]
Attempt = Callable[[Any, float, Metadata], Answer]
"""Asks with a stub, a time limit in seconds, and metadata."""


class EtcdLeaseConnection:
    """LeaseConnection over etcd.

    Both calls may be repeated, so both go on to the next endpoint after any failure.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._order = EndpointOrder(len(settings.endpoints))
        self._token = EtcdToken(settings.login)
        self._channels: dict[int, tuple[int, grpc.Channel]] = {}  # By endpoint: the version of the certificates, and the channel.
        self._before: dict[int, grpc.Channel] = {}  # The same with the certificates before, until the new ones have worked.

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See LeaseConnection."""
        return self._over_endpoints(lambda lease, left_s, metadata: _renewed(lease, lease_id, left_s, metadata), timeout_s)

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See LeaseConnection."""
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        try:
            self._over_endpoints(lambda lease, left_s, metadata: lease.LeaseRevoke(request, timeout=left_s, metadata=metadata), timeout_s)
        except LeaseNotFound:
            return

    def close(self) -> None:
        """See LeaseConnection."""
        for channel in (*self._before.values(), *(channel for _, channel in self._channels.values())):
            channel.close()

    def _over_endpoints(self, attempt: Attempt[Answer], timeout_s: float) -> Answer:
        deadline = Deadline.after(timeout_s, time.monotonic)
        attempts = self._order.attempts()
        failure = StoreUnavailable(f"no time was left for a call to etcd ({timeout_s:.3g} s)")
        for position, index in enumerate(attempts):
            if deadline.passed:
                break
            try:
                answer = self._ask_as_user(attempt, index, deadline.share(len(attempts) - position))
            except StoreUnavailable as error:
                failure = error
                self._order.failed(index)
            else:
                self._order.worked(index)
                return answer
        raise failure

    def _ask_as_user(self, attempt: Attempt[Answer], index: int, end: Deadline) -> Answer:
        """Ask with a token, and once more with a new token if etcd does not know the first one."""
        self._login(index, end)
        try:
            return self._ask(attempt, index, end)
        except StaleToken:
            if not self._token.wanted:
                raise
        self._token.forget(self._token.metadata)
        self._login(index, end)
        return self._ask(attempt, index, end)

    def _ask(self, attempt: Attempt[Answer], index: int, end: Deadline) -> Answer:
        """Ask over the channel to an endpoint. If it has new certificates that do not work, ask over the one before: a
        lease must not end because of them.
        """
        channel = self._channel(index)
        before = self._before.get(index)
        if before is None:
            return self._ask_over(channel, attempt, index, end)
        try:
            answer = self._ask_over(channel, attempt, index, end.share(2))
        except StoreUnavailable:
            return self._ask_over(before, attempt, index, end)
        self._before.pop(index).close()
        return answer

    def _ask_over(self, channel: grpc.Channel, attempt: Attempt[Answer], index: int, end: Deadline) -> Answer:
        lease = stubs.LeaseStub(channel)  # type: ignore[no-untyped-call]
        address = self._settings.endpoints[index]
        try:
            return attempt(lease, end.left_s, self._token.metadata)
        except grpc.RpcError as error:
            raise failed_read(address, error.code().name, error.details() or "") from None

    def _login(self, index: int, end: Deadline) -> None:
        if self._token.known:
            return
        auth: Any = stubs.AuthStub(self._channel(index))  # type: ignore[no-untyped-call]
        try:
            answer = auth.Authenticate(self._token.request(), timeout=end.left_s)
        except grpc.RpcError as error:
            failure = failed_login(self._settings.endpoints[index], self._token.user, error.code().name, error.details() or "")
            if failure is not None:
                raise failure from None
            self._token.take("")
        else:
            self._token.take(answer.token)

    def _channel(self, index: int) -> grpc.Channel:
        """Return the channel to an endpoint, a new one if the certificates have changed. No call is under way then."""
        material = None if self._settings.tls is None else self._settings.tls.current()
        version = 0 if material is None else material.version
        known = self._channels.get(index)
        if known is not None and known[0] == version:
            return known[1]
        address, options = self._settings.endpoints[index], channel_options(self._settings)
        made = open_channel(address, options, None if material is None else material.channel_credentials())
        self._channels[index] = (version, made)
        if known is not None and index in self._before:
            known[1].close()
        elif known is not None:
            self._before[index] = known[1]
        return made


def _renewed(lease: Any, lease_id: LeaseId, timeout_s: float, metadata: Metadata) -> int:
    request = rpc.LeaseKeepAliveRequest(ID=lease_id)
    call = lease.LeaseKeepAlive(iter((request,)), timeout=timeout_s, metadata=metadata)
    try:
        for answer in call:
            return int(answer.TTL)
    finally:
        call.cancel()
    raise StoreUnavailable(f"etcd ended the renewal of lease {lease_id:x} without an answer")
