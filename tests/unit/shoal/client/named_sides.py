"""Both clients behind one interface, for tests that ask the same of both, and a collection with named vectors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.twins.router_answers import DictCluster, async_client_with, client_with
from tests.twins.router_bytes import async_bytes_client_with, bytes_client_with


class Side:
    """Calls the verbs of a client by name; those of an asyncio client are run to their end, a scroll to a list."""

    def __init__(self, make: Callable[[DictCluster], Any]) -> None:
        self.cluster = DictCluster()
        self.client = make(self.cluster)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            answer = getattr(self.client, name)(*given, **options)
            if isinstance(answer, AsyncIterator):
                return asyncio.run(_listed(answer))
            return asyncio.run(_whole(answer)) if inspect.isawaitable(answer) else answer

        return call

    def sent(self, kind: type[Any]) -> list[Any]:
        """Return the requests of one kind that were sent."""
        requests: list[Any] = self.client.mock.requests(kind)
        return requests


async def _listed(points: AsyncIterator[Any]) -> list[Any]:
    return [point async for point in points]


async def _whole(answer: Any) -> Any:
    return await answer


SIDES = {
    "blocking": client_with,
    "blocking, bytes": bytes_client_with,
    "asyncio": async_client_with,
    "asyncio, bytes": async_bytes_client_with,
}

VECTORS = {"image": 2, "text": {"dim": 3, "metric": "cosine", "index": "hnsw"}}
