"""A client of etcd v3: the Store over grpc.aio, for plain asyncio and uvloop.

It uses several endpoints, bounds every call, distinguishes "not applied" from "unknown", and lets no message or error
of gRPC out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

from shoal.core.deadline import Deadline
from shoal.core.ids import Revision
from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd.calls import EtcdCalls
from shoal.store.etcd.channels import EtcdEndpoint, EtcdEndpoints
from shoal.store.etcd.convert import encode_key, end_of_prefix, from_key_value, from_txn, to_txn
from shoal.store.etcd.lease_connection import EtcdLeaseConnection
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.verdict import Compacted
from shoal.store.etcd.watch import EtcdWatch
from shoal.store.interface import (
    Committed,
    Lease,
    LeaseConnection,
    LeaseId,
    LeaseNotFound,
    Listing,
    Rejected,
    StoreUnavailable,
    Transaction,
    Versioned,
    Watch,
)
from shoal.store.transaction_limits import check_key, check_transaction, check_ttl

_PAGE = 128
"""Keys of a listing in one answer. They fit into one message even if every value has the largest size."""

_LIST_ATTEMPTS = 3
"""A listing starts again if etcd compacts the revision that it reads. Compactions happen minutes apart."""


class EtcdStore:
    """Store over etcd. It can be made on any thread, and is used from one event loop."""

    def __init__(self, settings: EtcdSettings, jitter: Callable[[], float] = random.random) -> None:
        """jitter: numbers in [0, 1) that spread the reconnects of many clients."""
        self._settings = settings
        self._jitter = jitter
        self._endpoints = EtcdEndpoints(settings)
        self._calls = EtcdCalls(self._endpoints, settings.dial_timeout_s)

    async def get(self, key: str, timeout_s: float) -> Versioned | None:
        """See Store."""
        check_key(key)
        response = await self._range(rpc.RangeRequest(key=encode_key(key)), timeout_s)
        return from_key_value(response.kvs[0]) if response.kvs else None

    async def list(self, prefix: str, timeout_s: float) -> Listing:
        """See Store."""
        check_key(prefix)
        deadline = Deadline.after(timeout_s, asyncio.get_running_loop().time)
        compacted = Compacted("")
        for _ in range(_LIST_ATTEMPTS):
            try:
                return await self._list_at_one_revision(prefix, deadline)
            except Compacted as error:
                compacted = error
        raise StoreUnavailable(f"listing {prefix!r} was overtaken by compaction {_LIST_ATTEMPTS} times: {compacted.message}")

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        """See Store."""
        check_transaction(transaction)
        request = to_txn(transaction)
        response: rpc.TxnResponse = await self._calls.write(
            lambda endpoint, left_s: endpoint.kv.Txn(request, timeout=left_s, metadata=endpoint.metadata), timeout_s
        )
        return from_txn(response)

    def watch(self, prefix: str) -> Watch:
        """See Store."""
        check_key(prefix)
        return EtcdWatch(prefix=prefix, endpoints=self._endpoints, settings=self._settings, list_prefix=self.list, jitter=self._jitter)

    async def grant_lease(self, ttl_s: int, timeout_s: float) -> Lease:
        """See Store."""
        check_ttl(ttl_s)
        request = rpc.LeaseGrantRequest(TTL=ttl_s)
        response: rpc.LeaseGrantResponse = await self._calls.write(
            lambda endpoint, left_s: endpoint.lease.LeaseGrant(request, timeout=left_s, metadata=endpoint.metadata), timeout_s
        )
        return Lease(id=LeaseId(response.ID), ttl_s=response.TTL)

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See Store."""
        return await self._calls.read(lambda endpoint, left_s: _renewed(endpoint, lease_id, left_s), timeout_s)

    async def revoke_lease(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See Store."""
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        try:
            await self._calls.write(
                lambda endpoint, left_s: endpoint.lease.LeaseRevoke(request, timeout=left_s, metadata=endpoint.metadata), timeout_s
            )
        except LeaseNotFound:
            return

    def lease_connection(self) -> LeaseConnection:
        """See Store."""
        return EtcdLeaseConnection(self._settings)

    async def close(self) -> None:
        """See Store."""
        await self._endpoints.close()

    async def _list_at_one_revision(self, prefix: str, deadline: Deadline) -> Listing:
        start, end = encode_key(prefix), end_of_prefix(prefix)
        entries: list[Versioned] = []
        revision = Revision(0)
        while True:
            page = await self._range(rpc.RangeRequest(key=start, range_end=end, limit=_PAGE, revision=revision), deadline.left_s)
            revision = revision or Revision(page.header.revision)
            entries.extend(from_key_value(message) for message in page.kvs)
            if not page.more:
                return Listing(revision=revision, entries=tuple(entries))
            start = page.kvs[-1].key + b"\x00"

    async def _range(self, request: rpc.RangeRequest, timeout_s: float) -> rpc.RangeResponse:
        response: rpc.RangeResponse = await self._calls.read(
            lambda endpoint, left_s: endpoint.kv.Range(request, timeout=left_s, metadata=endpoint.metadata), timeout_s
        )
        return response


async def _renewed(endpoint: EtcdEndpoint, lease_id: LeaseId, timeout_s: float) -> int:
    async def requests() -> AsyncIterator[rpc.LeaseKeepAliveRequest]:
        yield rpc.LeaseKeepAliveRequest(ID=lease_id)

    call = endpoint.lease.LeaseKeepAlive(requests(), timeout=timeout_s, metadata=endpoint.metadata)
    try:
        async for answer in call:
            return int(answer.TTL)
    finally:
        call.cancel()
    raise StoreUnavailable(f"etcd at {endpoint.address} ended the renewal of lease {lease_id:x} without an answer")
