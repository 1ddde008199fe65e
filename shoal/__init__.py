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
    __version__: str
    from shoal.client.async_client import AsyncClient, connect_async
    from shoal.client.client import Client, connect
    from shoal.client.highlights import highlighted
    from shoal.client.legs import Dense, SearchLeg, Text
    from shoal.client.results import Hit, Hits, LegHit, Point, Points, SearchExplain
    from shoal.core.access import Scope, Verb
    from shoal.core.api_keys import KeyInfo, NewKey
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
    from shoal.core.fused_search import HitExplain, LegExplain
    from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
    from shoal.core.named_vectors import NamedVector
    from shoal.core.operations import ItemProgress, PlanSummary, RebalanceProgress, WorkerForgotten, WorkerStanding
    from shoal.core.rebalance import BalanceSettings, RebalancePlan
    from shoal.core.replies import ClusterInfo, CollectionInfo, CollectionSummary, ShardInfo, WorkerInfo
    from shoal.core.shard_calls import SegmentExplain
    from shoal.core.text_calls import TextExplain, WordShare
    from shoal.core.tuning_calls import CurvePoint, SegmentCurve, ShardRecall

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "BalanceSettings",
    "Client",
    "ClusterInfo",
    "CollectionInfo",
    "CollectionSpec",
    "CollectionSummary",
    "CurvePoint",
    "DataLoss",
    "DeadlineExceeded",
    "Dense",
    "ErrorDetails",
    "Fusion",
    "FusionKind",
    "Hit",
    "HitExplain",
    "Hits",
    "Internal",
    "InvalidArgument",
    "ItemProgress",
    "KeyInfo",
    "LegExplain",
    "LegHit",
    "NamedVector",
    "NewKey",
    "NotFound",
    "PermissionDenied",
    "PlanSummary",
    "Point",
    "Points",
    "PreconditionFailed",
    "RebalancePlan",
    "RebalanceProgress",
    "ResourceExhausted",
    "Scope",
    "SearchDefaults",
    "SearchExplain",
    "SearchLeg",
    "SegmentCurve",
    "SegmentExplain",
    "ShardInfo",
    "ShardRecall",
    "ShoalError",
    "Text",
    "TextExplain",
    "Unauthenticated",
    "Unavailable",
    "Verb",
    "WordShare",
    "WorkerForgotten",
    "WorkerInfo",
    "WorkerStanding",
    "connect",
    "connect_async",
    "highlighted",
]

_HOMES = {
    "shoal.client.async_client": ("AsyncClient", "connect_async"),
    "shoal.client.client": ("Client", "connect"),
    "shoal.client.highlights": ("highlighted",),
    "shoal.client.legs": ("Dense", "SearchLeg", "Text"),
    "shoal.client.results": ("Hit", "Hits", "LegHit", "Point", "Points", "SearchExplain"),
    "shoal.core.access": ("Scope", "Verb"),
    "shoal.core.api_keys": ("KeyInfo", "NewKey"),
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
    "shoal.core.fused_search": ("HitExplain", "LegExplain"),
    "shoal.core.fusion_choice": ("Fusion", "FusionKind", "SearchDefaults"),
    "shoal.core.named_vectors": ("NamedVector",),
    "shoal.core.operations": ("ItemProgress", "PlanSummary", "RebalanceProgress", "WorkerForgotten", "WorkerStanding"),
    "shoal.core.rebalance": ("BalanceSettings", "RebalancePlan"),
    "shoal.core.replies": ("ClusterInfo", "CollectionInfo", "CollectionSummary", "ShardInfo", "WorkerInfo"),
    "shoal.core.shard_calls": ("SegmentExplain",),
    "shoal.core.tuning_calls": ("CurvePoint", "SegmentCurve", "ShardRecall"),
    "shoal.core.text_calls": ("TextExplain", "WordShare"),
}
"""The public names of each module that defines some."""

_ROOMS = frozenset({"client", "core", "v1", "wire"})
"""Packages that are attributes of this one, too, without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"shoal.{name}")
    if name == "__version__":
        globals()[name] = found = importlib.import_module("importlib.metadata").version("shoal")
        return found
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS, "__version__"})
