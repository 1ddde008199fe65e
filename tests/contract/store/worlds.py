"""The two worlds the contract holds in: the store in memory, and a real etcd behind a line that can be cut."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod

import grpc.aio

from shoal.core.ids import Revision
from shoal.store.etcd import etcd_rpc_pb2, etcd_rpc_pb2_grpc
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.interface import Committed, DeleteKey, Put, Rejected, Store, Transaction, Versioned
from tests.contract.store.eventually import eventually
from tests.support.network.tcp_proxy import TcpProxy
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

CALL_S = 5.0


class World(ABC):
    """A store, clients of it, and power over both. Keys are below a prefix that nobody else uses."""

    def __init__(self) -> None:
        self.prefix = f"/contract/{uuid.uuid4().hex}/"

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def end(self) -> None: ...

    @abstractmethod
    def client(self) -> Store:
        """One more client, on the line that can be cut."""

    @abstractmethod
    async def cut(self) -> None:
        """Cut the clients off."""

    @abstractmethod
    async def restore(self) -> None:
        """End the cut."""

    @abstractmethod
    async def compact(self, revision: Revision) -> None:
        """Let the store forget."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let leases grow older."""

    @abstractmethod
    async def put_from_outside(self, key: str, value: bytes | None) -> Revision:
        """Write a key, or delete it, past the line that can be cut."""

    @abstractmethod
    async def commit_losing_request(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        """Commit over a line that loses the request after it was sent."""

    @abstractmethod
    async def commit_losing_answer(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        """Commit over a line that loses the answer after the transaction was applied."""

    def key(self, name: str) -> str:
        return self.prefix + name


async def put(store: Store, key: str, value: bytes, **options: object) -> Revision:
    """Write a key without conditions."""
    outcome = await store.commit(Transaction(then=(Put(key=key, value=value, **options),)), CALL_S)  # type: ignore[arg-type]
    assert isinstance(outcome, Committed)
    return outcome.revision


async def present(store: Store, key: str) -> Versioned:
    """A key that is there."""
    entry = await store.get(key, CALL_S)
    assert entry is not None
    return entry


class MemoryWorld(World):
    """The store in memory. Time passes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._cluster = MemoryCluster(lambda: self._now_s)
        self._clients: list[MemoryStore] = []
        self._outside = MemoryStore(self._cluster)

    async def start(self) -> None:
        return

    async def end(self) -> None:
        for client in self._clients:
            await client.close()

    def client(self) -> MemoryStore:
        self._clients.append(MemoryStore(self._cluster))
        return self._clients[-1]

    async def cut(self) -> None:
        for client in self._clients:
            client.cut()

    async def restore(self) -> None:
        for client in self._clients:
            client.restore()

    async def compact(self, revision: Revision) -> None:
        self._cluster.compact(revision)

    async def pass_time(self, seconds: float) -> None:
        self._now_s += seconds
        self._cluster.expire()
        await asyncio.sleep(0)

    async def put_from_outside(self, key: str, value: bytes | None) -> Revision:
        return await _put_or_delete(self._outside, key, value)

    async def commit_losing_request(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        assert isinstance(client, MemoryStore)
        client.fail_next_commit(CommitFault.LOST_BEFORE)
        return await client.commit(transaction, CALL_S)

    async def commit_losing_answer(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        assert isinstance(client, MemoryStore)
        client.fail_next_commit(CommitFault.LOST_AFTER)
        return await client.commit(transaction, CALL_S)


class EtcdWorld(World):
    """A real etcd, shared with other tests, and a proxy of this test alone in front of it."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._address = f"127.0.0.1:{port}"
        self._proxy = TcpProxy(port)
        self._clients: list[EtcdStore] = []
        self._outside = EtcdStore(EtcdSettings(endpoints=(self._address,)))

    async def start(self) -> None:
        await self._proxy.start()

    async def end(self) -> None:
        for client in (*self._clients, self._outside):
            await client.close()
        await self._proxy.cut()

    def client(self) -> EtcdStore:
        self._clients.append(EtcdStore(EtcdSettings(endpoints=(self._proxy.endpoint,), silence_s=0.5)))
        return self._clients[-1]

    async def cut(self) -> None:
        await self._proxy.cut()

    async def restore(self) -> None:
        await self._proxy.restore()

    async def compact(self, revision: Revision) -> None:
        await compact_etcd(self._address, revision)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def put_from_outside(self, key: str, value: bytes | None) -> Revision:
        return await _put_or_delete(self._outside, key, value)

    async def commit_losing_request(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        await client.get(self.prefix, CALL_S)
        self._proxy.swallow_requests = True
        try:
            return await client.commit(transaction, 0.5)
        finally:
            await self._renew_line()

    async def commit_losing_answer(self, client: Store, transaction: Transaction) -> Committed | Rejected:
        before = await client.list(self.prefix, CALL_S)
        self._proxy.swallow_answers = True
        commit = asyncio.create_task(client.commit(transaction, CALL_S))

        async def applied() -> bool:
            return (await self._outside.list(self.prefix, CALL_S)).entries != before.entries

        try:
            await eventually(applied)
        finally:
            await self._renew_line()
        return await commit

    async def _renew_line(self) -> None:
        await self._proxy.cut()
        await self._proxy.restore()


async def compact_etcd(address: str, revision: Revision) -> None:
    """Compact a real etcd up to a revision; nothing when it was compacted further already."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = etcd_rpc_pb2.CompactionRequest(revision=revision, physical=True)
        try:
            await etcd_rpc_pb2_grpc.KVStub(channel).Compact(request, timeout=CALL_S)  # type: ignore[no-untyped-call]
        except grpc.aio.AioRpcError as error:
            if "has been compacted" not in (error.details() or ""):
                raise


async def _put_or_delete(store: Store, key: str, value: bytes | None) -> Revision:
    operation = DeleteKey(key=key) if value is None else Put(key=key, value=value)
    outcome = await store.commit(Transaction(then=(operation,)), CALL_S)
    return outcome.revision
