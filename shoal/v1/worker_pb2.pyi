from shoal.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShardRef(_message.Message):
    __slots__ = ("collection_id", "number")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    number: int
    def __init__(self, collection_id: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class ReadTerms(_message.Message):
    __slots__ = ("consistency", "min_seq")
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    consistency: _common_pb2.Consistency
    min_seq: int
    def __init__(self, consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seq: _Optional[int] = ...) -> None: ...

class ShardWriteRequest(_message.Message):
    __slots__ = ("shard", "epoch", "request_id", "upsert", "delete")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    epoch: int
    request_id: _common_pb2.RequestId
    upsert: _common_pb2.PointBatch
    delete: _common_pb2.PointIds
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., epoch: _Optional[int] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., upsert: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ..., delete: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ...) -> None: ...

class ShardWriteResponse(_message.Message):
    __slots__ = ("seq", "affected")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    affected: int
    def __init__(self, seq: _Optional[int] = ..., affected: _Optional[int] = ...) -> None: ...

class ShardSearchRequest(_message.Message):
    __slots__ = ("shard", "queries", "k", "exact", "ef", "with_payload", "with_vectors", "terms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    queries: _common_pb2.Vectors
    k: int
    exact: bool
    ef: int
    with_payload: bool
    with_vectors: bool
    terms: ReadTerms
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., queries: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., k: _Optional[int] = ..., exact: bool = ..., ef: _Optional[int] = ..., with_payload: bool = ..., with_vectors: bool = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ...) -> None: ...

class ShardSearchResponse(_message.Message):
    __slots__ = ("hits",)
    HITS_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ...) -> None: ...

class ShardGetRequest(_message.Message):
    __slots__ = ("shard", "ids", "with_payload", "with_vectors", "terms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    ids: _common_pb2.PointIds
    with_payload: bool
    with_vectors: bool
    terms: ReadTerms
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., with_payload: bool = ..., with_vectors: bool = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ...) -> None: ...

class ShardScrollRequest(_message.Message):
    __slots__ = ("shard", "after", "limit", "with_payload", "with_vectors", "terms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    after: _common_pb2.PointIds
    limit: int
    with_payload: bool
    with_vectors: bool
    terms: ReadTerms
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., after: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., limit: _Optional[int] = ..., with_payload: bool = ..., with_vectors: bool = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ...) -> None: ...

class ShardPointsResponse(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _common_pb2.PointBatch
    def __init__(self, points: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ...) -> None: ...

class ShardCountRequest(_message.Message):
    __slots__ = ("shard", "terms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    terms: ReadTerms
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ...) -> None: ...

class ShardCountResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ShardStatsRequest(_message.Message):
    __slots__ = ("shard",)
    SHARD_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ...) -> None: ...

class ShardStatsResponse(_message.Message):
    __slots__ = ("role", "term", "applied_seq", "points", "growing_rows", "sealed_rows", "segments", "builds_pending", "bytes", "memory_bytes")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    GROWING_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEALED_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    BUILDS_PENDING_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    role: str
    term: int
    applied_seq: int
    points: int
    growing_rows: int
    sealed_rows: int
    segments: int
    builds_pending: int
    bytes: int
    memory_bytes: int
    def __init__(self, role: _Optional[str] = ..., term: _Optional[int] = ..., applied_seq: _Optional[int] = ..., points: _Optional[int] = ..., growing_rows: _Optional[int] = ..., sealed_rows: _Optional[int] = ..., segments: _Optional[int] = ..., builds_pending: _Optional[int] = ..., bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class ShardOptimizeRequest(_message.Message):
    __slots__ = ("shard",)
    SHARD_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ...) -> None: ...

class ShardOptimizeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerStatusResponse(_message.Message):
    __slots__ = ("memory_bytes", "failed", "disk", "serving")
    class FailedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    failed: _containers.ScalarMap[str, str]
    disk: str
    serving: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, memory_bytes: _Optional[int] = ..., failed: _Optional[_Mapping[str, str]] = ..., disk: _Optional[str] = ..., serving: _Optional[_Iterable[str]] = ...) -> None: ...
