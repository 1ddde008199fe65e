"""Shoal: a distributed, sharded vector search cluster.

`shoal.connect` gives a client, `shoal.connect_async` one for asyncio; both have the same verbs. In short:

    with shoal.connect("localhost:7600") as client:
        client.create_collection("things", dim=64)
        client.upsert("things", ids, vectors, payloads)
        hits = client.search("things", vector, k=10)

    async with shoal.connect_async("localhost:7600") as client:
        hits = await client.search("things", vector, k=10)

`help(shoal.Client)` tells every verb. What they return (Hits, Point, CollectionInfo, ClusterInfo ...) and the errors they raise
(all are ShoalError) are here, too.
"""

from shoal.client.async_client import AsyncClient, connect_async
from shoal.client.client import Client, connect
from shoal.client.results import (
    ClusterInfo,
    CollectionInfo,
    CollectionSummary,
    Hit,
    Hits,
    Point,
    ShardInfo,
    WorkerInfo,
)
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
