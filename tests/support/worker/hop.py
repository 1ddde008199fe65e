"""A hop without sockets: a router calls a worker in bytes, and the service of the worker in this process answers."""

from __future__ import annotations

from typing import Any

from shoal.core.errors import ShoalError
from shoal.core.shard_calls import ShardService
from shoal.router.rpc.remote_worker import RemoteWorker
from shoal.router.rpc.search_service import SearchService
from shoal.runtime.calls import CallContext, UnaryCall
from shoal.runtime.interceptors import call_table, reader_of
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.wire.worker_methods import WorkerMethod
from tests.twins.cluster import new_conversions


class CallerContext:
    """The context of a call with 10 seconds left."""

    def __init__(self, caller: str = "router") -> None:
        self._caller = caller

    def time_remaining(self) -> float | None:
        """See CallContext."""
        return 10.0

    def peer(self) -> str:
        """See CallContext."""
        return self._caller

    def invocation_metadata(self) -> None:
        """See CallContext."""
        return


class LinesInMemory:
    """WorkerLines to the service of a host. shortly: answers that the door which takes bytes has given."""

    named = "worker in memory"

    def __init__(self, host: ShardService) -> None:
        self._table = call_table(WorkerServicer(host, new_conversions()).calls())
        self.shortly = 0

    async def exchange(self, method: WorkerMethod, data: bytes, timeout_s: float, unknown: type[ShoalError] | None = None) -> bytes:
        """See WorkerLines."""
        answer, shortly = await answer_in_bytes(self._table[method.path], data, CallerContext())
        self.shortly += shortly
        return answer

    async def close(self) -> None:
        """Do nothing."""


def remote(lines: LinesInMemory) -> RemoteWorker:
    """Return the worker at the other end of the lines."""
    there: Any = lines
    return RemoteWorker(there, new_conversions())


async def search_in_bytes(service: SearchService, data: bytes, caller: str) -> tuple[bytes, bool]:
    """Return the bytes of the answer to a search, and whether the short way gave it."""
    (call,) = call_table(service.calls()).values()
    return await answer_in_bytes(call, data, CallerContext(caller))


async def answer_in_bytes(call: UnaryCall, data: bytes, context: CallContext) -> tuple[bytes, bool]:
    """Return the bytes of an answer, as a server does, and whether the door that takes bytes gave it."""
    answer = None if call.at_once is None else call.at_once(data, context)
    if answer is None:
        return (await call.handle(reader_of(call)(data), context)).SerializeToString(), False
    return answer if isinstance(answer, bytes) else await answer(), True
