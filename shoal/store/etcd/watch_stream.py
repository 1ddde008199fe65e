"""One watch stream to one endpoint of etcd. It distinguishes a dead server from one without changes.

After some silence it asks the server for a sign of life over the stream itself. A server that is frozen or gone does
not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from shoal.core.ids import Revision
from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd.channels import EtcdEndpoint
from shoal.store.etcd.convert import encode_key, end_of_prefix, from_watch_response
from shoal.store.etcd.verdict import failed_read
from shoal.store.etcd.watch_progress import StreamMessage
from shoal.store.interface import StoreUnavailable

_REQUESTS = 4
"""The most requests that wait to be sent: the opening one, a progress request, the end, and one to spare."""


class EtcdWatchStream:
    """An open stream. One task reads it and closes it."""

    def __init__(self, *, endpoint: EtcdEndpoint, prefix: str, start: Revision, silence_s: float) -> None:
        """start: first revision to receive, inclusive. silence_s: see EtcdSettings."""
        self._endpoint = endpoint
        self._silence_s = silence_s
        self._requests: asyncio.Queue[rpc.WatchRequest | None] = asyncio.Queue(_REQUESTS)
        self._requests.put_nowait(_opening(prefix, start))
        self._call: Any = endpoint.watch.Watch(self._sent(), metadata=endpoint.metadata)
        self._reading: asyncio.Task[Any] | None = None

    async def receive(self) -> StreamMessage:
        """Return the next message of the server.

        Raises StoreUnavailable if the stream broke, ended or stayed silent; or a refusal.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        for question in (_question(), None):
            done, _ = await asyncio.wait({self._reading}, timeout=self._silence_s)
            if done:
                reading, self._reading = self._reading, None
                return self._understood(reading)
            if question is not None and not self._requests.full():
                self._requests.put_nowait(question)
        raise StoreUnavailable(f"etcd at {self._endpoint.address} was silent on a watch for {2 * self._silence_s:.3g} s")

    async def close(self) -> None:
        """Close the stream."""
        while not self._requests.empty():
            self._requests.get_nowait()
        self._requests.put_nowait(None)
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> Any:
        return await self._call.read()

    async def _sent(self) -> AsyncIterator[rpc.WatchRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    def _understood(self, reading: asyncio.Task[Any]) -> StreamMessage:
        if reading.cancelled():
            raise StoreUnavailable(f"the watch stream to etcd at {self._endpoint.address} was closed")
        error = reading.exception()
        if isinstance(error, grpc.aio.AioRpcError):
            raise failed_read(self._endpoint.address, error.code().name, error.details() or "") from None
        if error is not None:
            raise error
        response = reading.result()
        if not isinstance(response, rpc.WatchResponse):
            raise StoreUnavailable(f"etcd at {self._endpoint.address} ended a watch stream")
        return from_watch_response(response)


def _opening(prefix: str, start: Revision) -> rpc.WatchRequest:
    return rpc.WatchRequest(
        create_request=rpc.WatchCreateRequest(key=encode_key(prefix), range_end=end_of_prefix(prefix), start_revision=start, fragment=True)
    )


def _question() -> rpc.WatchRequest:
    return rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
