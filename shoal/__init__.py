"""Shoal: a distributed, sharded vector search cluster. `shoal.connect` gives a client; the errors it raises are here too."""

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

__all__ = [
    "AlreadyExists",
    "Client",
    "ClusterInfo",
    "CollectionInfo",
    "CollectionSpec",
    "CollectionSummary",
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
    "ShardInfo",
    "ShoalError",
    "Unauthenticated",
    "Unavailable",
    "WorkerInfo",
    "connect",
]
