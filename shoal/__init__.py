"""Shoal: a distributed, sharded vector search cluster.

`shoal.connect` gives a client, `shoal.connect_async` one for asyncio; both have the same verbs. In short:

    with shoal.connect("localhost:7600") as client:
        client.create_collection("things", dim=64)
        client.upsert("things", ids, vectors, payloads)
        hits = client.search("things", vector, k=10)

    async with shoal.connect_async("localhost:7600") as client:
        hits = await client.search("things", vector, k=10)

`help(shoal.Client)` describes each verb. The classes of their results (Hits, Point, CollectionInfo, ClusterInfo ...)
and of their errors (all are ShoalError) are in this package, too.

Each name is imported on first use. So `import shoal` is fast, and a command or a server can handle signals before the
libraries are loaded, which takes a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.client.async_client import AsyncClient, connect_async
    from shoal.client.client import Client, connect
    from shoal.client.results import Hit, Hits, Point
    from shoal.core.collection import CollectionSpec
    from shoal.core.errors import (
        AlreadyExists,
        DataLoss,
        DeadlineExceeded,
        ErrorDetails,
        Internal,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        PreconditionFailed,
        ResourceExhausted,
        ShoalError,
        Unauthenticated,
        Unavailable,
    )
    from shoal.core.replies import ClusterInfo, CollectionInfo, CollectionSummary, ShardInfo, WorkerInfo
    from shoal.core.shard_calls import CurvePoint, SegmentCurve, SegmentExplain, ShardRecall

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Client",
    "ClusterInfo",
    "CollectionInfo",
    "CollectionSpec",
    "CollectionSummary",
    "CurvePoint",
    "DataLoss",
    "DeadlineExceeded",
    "ErrorDetails",
    "Hit",
    "Hits",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "Point",
    "PreconditionFailed",
    "ResourceExhausted",
    "SegmentCurve",
    "SegmentExplain",
    "ShardInfo",
    "ShardRecall",
    "ShoalError",
    "Unauthenticated",
    "Unavailable",
    "WorkerInfo",
    "connect",
    "connect_async",
]

_HOMES = {
    "shoal.client.async_client": ("AsyncClient", "connect_async"),
    "shoal.client.client": ("Client", "connect"),
    "shoal.client.results": ("Hit", "Hits", "Point"),
    "shoal.core.collection": ("CollectionSpec",),
    "shoal.core.errors": (
        "AlreadyExists",
        "DataLoss",
        "DeadlineExceeded",
        "ErrorDetails",
        "Internal",
        "InvalidArgument",
        "NotFound",
        "PermissionDenied",
        "PreconditionFailed",
        "ResourceExhausted",
        "ShoalError",
        "Unauthenticated",
        "Unavailable",
    ),
    "shoal.core.replies": ("ClusterInfo", "CollectionInfo", "CollectionSummary", "ShardInfo", "WorkerInfo"),
    "shoal.core.shard_calls": ("CurvePoint", "SegmentCurve", "SegmentExplain", "ShardRecall"),
}
"""The public names of each module that defines some."""

_ROOMS = frozenset({"client", "core", "v1", "wire"})
"""Packages that are attributes of this one, too, without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"shoal.{name}")
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
