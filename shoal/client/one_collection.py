"""One collection, as the adapters of frameworks use it: made when it is missing, written, emptied, from threads and
from event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from shoal.client.async_client import AsyncClient, connect_async
from shoal.client.client import Client, connect
from shoal.client.results import Point
from shoal.client.transports.choice import TransportName
from shoal.core.collection import CollectionSpec
from shoal.core.errors import AlreadyExists, ErrorDetails, InvalidArgument, NotFound

Rows = tuple[Sequence[str], Sequence[Any], Sequence[Mapping[str, Any]]]
"""Ids, vectors and payloads of points, of the same length."""


class OneCollection:
    """A collection and the clients of its cluster: a blocking one, and an asynchronous one. Thread-safe.

    Its verbs raise what those of `Client` raise.
    """

    def __init__(
        self,
        name: str,
        address: str | Iterable[str] = "localhost:7600",
        *,
        options: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        transport: TransportName = "auto",
        blocking: Callable[[], Client] | None = None,
        awaited: Callable[[], AsyncClient] | None = None,
    ) -> None:
        """Use the collection `name`; nothing is sent.

        options: arguments of `create_collection` for a collection that does not exist; None: it is never created.
        address, timeout, transport: see `shoal.connect`; blocking, awaited: make the clients in its stead. Raises
        InvalidArgument for options with named vectors, because one vector is written for each point.
        """
        if options is not None and options.get("vectors") is not None:
            said = "create has vectors, but one vector without a name is written for each point: give dim, or leave it out"
            raise InvalidArgument(said, ErrorDetails(field="create"))
        where = address if isinstance(address, str) else tuple(address)
        self.name, self._options = name, None if options is None else dict(options)
        self._make = blocking or partial(connect, where, timeout=timeout, transport=transport)
        self._blocking: Client | None = None
        self._make_awaited = awaited or partial(connect_async, where, timeout=timeout, transport=transport)
        self._awaited: AsyncClient | None = None
        self._spec: CollectionSpec | None = None

    @property
    def client(self) -> Client:
        """Return the blocking client, made at its first use."""
        if self._blocking is None:
            self._blocking = self._make()
        return self._blocking

    @property
    def awaited(self) -> AsyncClient:
        """Return the asynchronous client, made at its first use."""
        if self._awaited is None:
            self._awaited = self._make_awaited()
        return self._awaited

    def close(self) -> None:
        """Close the blocking client. A later use makes a new one."""
        client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close both clients. A later use makes new ones."""
        client, self._awaited = self._awaited, None
        if client is not None:
            await client.close()
        self.close()

    def create(self, dim: int) -> bool:
        """Create the collection; return False if it exists, whatever its settings are. dim: unless the options name
        it.
        """
        try:
            self.client.create_collection(self.name, **{"dim": dim, **(self._options or {})})
        except AlreadyExists:
            return False
        return True

    async def acreate(self, dim: int) -> bool:
        """See create."""
        try:
            await self.awaited.create_collection(self.name, **{"dim": dim, **(self._options or {})})
        except AlreadyExists:
            return False
        return True

    @property
    def dim_of_options(self) -> int | None:
        """Return the number of dimensions that the options name."""
        return (self._options or {}).get("dim")

    def upsert(self, rows: Rows) -> None:
        """Write points; the collection is created if it is missing and options were given. No points: nothing."""
        ids, vectors, payloads = rows
        if not ids:
            return
        try:
            self.client.upsert(self.name, ids, vectors, payloads)
        except NotFound:
            if self._options is None:
                raise
            self.create(len(vectors[0]))
            self.client.upsert(self.name, ids, vectors, payloads)

    async def aupsert(self, rows: Rows) -> None:
        """See upsert."""
        ids, vectors, payloads = rows
        if not ids:
            return
        client = self.awaited
        try:
            await client.upsert(self.name, ids, vectors, payloads)
        except NotFound:
            if self._options is None:
                raise
            await self.acreate(len(vectors[0]))
            await client.upsert(self.name, ids, vectors, payloads)

    def get(self, ids: Sequence[str]) -> list[Point]:
        """Return points with payloads by id, in the order asked for, without those that do not exist."""
        return self.client.get(self.name, list(ids), with_vectors=False) if ids else []

    async def aget(self, ids: Sequence[str]) -> list[Point]:
        """See get."""
        return await self.awaited.get(self.name, list(ids), with_vectors=False) if ids else []

    def delete(self, ids: Sequence[str] | None = None, filter: Mapping[str, Any] | None = None) -> None:
        """Delete points by id, or those that match; an empty list of ids: none."""
        if filter is not None:
            self.client.delete(self.name, filter=filter)
        elif ids:
            self.client.delete(self.name, list(ids))

    async def adelete(self, ids: Sequence[str] | None = None, filter: Mapping[str, Any] | None = None) -> None:
        """See delete."""
        if filter is not None:
            await self.awaited.delete(self.name, filter=filter)
        elif ids:
            await self.awaited.delete(self.name, list(ids))

    def clear(self) -> None:
        """Delete all points. The collection stays."""
        self.client.clear(self.name)

    async def aclear(self) -> None:
        """See clear."""
        await self.awaited.clear(self.name)

    def metric(self, using: str | None = None) -> str:
        """Return the metric of the vectors: l2, ip or cosine. It never changes, and is asked for once.

        using: the name of the vector. Raises InvalidArgument if there is none of this name, or several and no name.
        """
        if self._spec is None:
            self._spec = self.client.describe_collection(self.name).spec
        return str(self._spec.vector_of(using or "").metric)

    async def ametric(self, using: str | None = None) -> str:
        """See metric."""
        if self._spec is None:
            self._spec = (await self.awaited.describe_collection(self.name)).spec
        return str(self._spec.vector_of(using or "").metric)
