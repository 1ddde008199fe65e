from shoal.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CollectionSpec(_message.Message):
    __slots__ = ("name", "dim", "metric", "shards", "replicas", "index", "recall", "min_isr", "text", "defaults", "vectors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    MIN_ISR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    metric: str
    shards: int
    replicas: int
    index: str
    recall: float
    min_isr: int
    text: _containers.RepeatedCompositeFieldContainer[TextField]
    defaults: SearchDefaults
    vectors: _containers.RepeatedCompositeFieldContainer[NamedVector]
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., metric: _Optional[str] = ..., shards: _Optional[int] = ..., replicas: _Optional[int] = ..., index: _Optional[str] = ..., recall: _Optional[float] = ..., min_isr: _Optional[int] = ..., text: _Optional[_Iterable[_Union[TextField, _Mapping]]] = ..., defaults: _Optional[_Union[SearchDefaults, _Mapping]] = ..., vectors: _Optional[_Iterable[_Union[NamedVector, _Mapping]]] = ...) -> None: ...

class NamedVector(_message.Message):
    __slots__ = ("name", "dim", "metric", "index")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    metric: str
    index: str
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., metric: _Optional[str] = ..., index: _Optional[str] = ...) -> None: ...

class TextField(_message.Message):
    __slots__ = ("name", "kind", "stem", "stop_words", "own_words", "fold")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STEM_FIELD_NUMBER: _ClassVar[int]
    STOP_WORDS_FIELD_NUMBER: _ClassVar[int]
    OWN_WORDS_FIELD_NUMBER: _ClassVar[int]
    FOLD_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    stem: str
    stop_words: _containers.RepeatedScalarFieldContainer[str]
    own_words: _containers.RepeatedScalarFieldContainer[str]
    fold: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., stem: _Optional[str] = ..., stop_words: _Optional[_Iterable[str]] = ..., own_words: _Optional[_Iterable[str]] = ..., fold: bool = ...) -> None: ...

class SearchDefaults(_message.Message):
    __slots__ = ("fusion", "c", "dense_weight", "text_weight", "boosts")
    class BoostsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FUSION_FIELD_NUMBER: _ClassVar[int]
    C_FIELD_NUMBER: _ClassVar[int]
    DENSE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    fusion: str
    c: float
    dense_weight: float
    text_weight: float
    boosts: _containers.ScalarMap[str, float]
    def __init__(self, fusion: _Optional[str] = ..., c: _Optional[float] = ..., dense_weight: _Optional[float] = ..., text_weight: _Optional[float] = ..., boosts: _Optional[_Mapping[str, float]] = ...) -> None: ...

class TextFields(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[TextField]
    def __init__(self, fields: _Optional[_Iterable[_Union[TextField, _Mapping]]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("spec", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: CollectionSpec
    request_id: str
    def __init__(self, spec: _Optional[_Union[CollectionSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection_id",)
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    def __init__(self, collection_id: _Optional[str] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("name", "collection_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection_id: str
    def __init__(self, name: _Optional[str] = ..., collection_id: _Optional[str] = ...) -> None: ...

class DropCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionSummary]
    def __init__(self, collections: _Optional[_Iterable[_Union[CollectionSummary, _Mapping]]] = ...) -> None: ...

class CollectionSummary(_message.Message):
    __slots__ = ("id", "spec", "state")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    spec: CollectionSpec
    state: str
    def __init__(self, id: _Optional[str] = ..., spec: _Optional[_Union[CollectionSpec, _Mapping]] = ..., state: _Optional[str] = ...) -> None: ...

class DescribeCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DescribeCollectionResponse(_message.Message):
    __slots__ = ("collection", "points", "growing_rows", "sealed_rows", "segments", "builds_pending", "bytes", "memory_bytes", "waiting")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    GROWING_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEALED_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    BUILDS_PENDING_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    collection: CollectionSummary
    points: int
    growing_rows: int
    sealed_rows: int
    segments: int
    builds_pending: int
    bytes: int
    memory_bytes: int
    waiting: str
    def __init__(self, collection: _Optional[_Union[CollectionSummary, _Mapping]] = ..., points: _Optional[int] = ..., growing_rows: _Optional[int] = ..., sealed_rows: _Optional[int] = ..., segments: _Optional[int] = ..., builds_pending: _Optional[int] = ..., bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., waiting: _Optional[str] = ...) -> None: ...

class AlterCollectionRequest(_message.Message):
    __slots__ = ("name", "index", "recall", "replicas", "min_isr", "text", "defaults", "indexes")
    class IndexesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MIN_ISR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: str
    recall: float
    replicas: int
    min_isr: int
    text: TextFields
    defaults: SearchDefaults
    indexes: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., index: _Optional[str] = ..., recall: _Optional[float] = ..., replicas: _Optional[int] = ..., min_isr: _Optional[int] = ..., text: _Optional[_Union[TextFields, _Mapping]] = ..., defaults: _Optional[_Union[SearchDefaults, _Mapping]] = ..., indexes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AlterCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TuneCollectionRequest(_message.Message):
    __slots__ = ("name", "k", "queries", "vector")
    NAME_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    k: int
    queries: _common_pb2.Vectors
    vector: str
    def __init__(self, name: _Optional[str] = ..., k: _Optional[int] = ..., queries: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., vector: _Optional[str] = ...) -> None: ...

class TuneCollectionResponse(_message.Message):
    __slots__ = ("curves",)
    CURVES_FIELD_NUMBER: _ClassVar[int]
    curves: _containers.RepeatedCompositeFieldContainer[SegmentCurve]
    def __init__(self, curves: _Optional[_Iterable[_Union[SegmentCurve, _Mapping]]] = ...) -> None: ...

class SegmentCurve(_message.Message):
    __slots__ = ("shard", "segment", "index", "rows", "breadth_name", "queries", "real_queries", "points", "exact_us", "vector")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BREADTH_NAME_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    REAL_QUERIES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    EXACT_US_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    shard: int
    segment: str
    index: str
    rows: int
    breadth_name: str
    queries: int
    real_queries: bool
    points: _containers.RepeatedCompositeFieldContainer[CurvePoint]
    exact_us: float
    vector: str
    def __init__(self, shard: _Optional[int] = ..., segment: _Optional[str] = ..., index: _Optional[str] = ..., rows: _Optional[int] = ..., breadth_name: _Optional[str] = ..., queries: _Optional[int] = ..., real_queries: bool = ..., points: _Optional[_Iterable[_Union[CurvePoint, _Mapping]]] = ..., exact_us: _Optional[float] = ..., vector: _Optional[str] = ...) -> None: ...

class CurvePoint(_message.Message):
    __slots__ = ("breadth", "fetch", "recall", "us")
    BREADTH_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    US_FIELD_NUMBER: _ClassVar[int]
    breadth: int
    fetch: int
    recall: float
    us: float
    def __init__(self, breadth: _Optional[int] = ..., fetch: _Optional[int] = ..., recall: _Optional[float] = ..., us: _Optional[float] = ...) -> None: ...

class MeasureRecallRequest(_message.Message):
    __slots__ = ("name", "sample", "k", "recall", "vector")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    sample: int
    k: int
    recall: float
    vector: str
    def __init__(self, name: _Optional[str] = ..., sample: _Optional[int] = ..., k: _Optional[int] = ..., recall: _Optional[float] = ..., vector: _Optional[str] = ...) -> None: ...

class MeasureRecallResponse(_message.Message):
    __slots__ = ("shards",)
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[ShardRecall]
    def __init__(self, shards: _Optional[_Iterable[_Union[ShardRecall, _Mapping]]] = ...) -> None: ...

class ShardRecall(_message.Message):
    __slots__ = ("shard", "queries", "real_queries", "recall", "lowest", "search_us", "exact_us")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    REAL_QUERIES_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    EXACT_US_FIELD_NUMBER: _ClassVar[int]
    shard: int
    queries: int
    real_queries: bool
    recall: float
    lowest: float
    search_us: float
    exact_us: float
    def __init__(self, shard: _Optional[int] = ..., queries: _Optional[int] = ..., real_queries: bool = ..., recall: _Optional[float] = ..., lowest: _Optional[float] = ..., search_us: _Optional[float] = ..., exact_us: _Optional[float] = ...) -> None: ...

class OptimizeCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class OptimizeCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecoverShardRequest(_message.Message):
    __slots__ = ("name", "shard", "worker", "accept_data_loss", "reason", "asked_by", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_DATA_LOSS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    shard: int
    worker: str
    accept_data_loss: bool
    reason: str
    asked_by: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., shard: _Optional[int] = ..., worker: _Optional[str] = ..., accept_data_loss: bool = ..., reason: _Optional[str] = ..., asked_by: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RecoverShardResponse(_message.Message):
    __slots__ = ("done", "recovery")
    DONE_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    done: bool
    recovery: Recovery
    def __init__(self, done: bool = ..., recovery: _Optional[_Union[Recovery, _Mapping]] = ...) -> None: ...

class Recovery(_message.Message):
    __slots__ = ("shard", "collection_id", "term", "chosen", "given_up")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_FIELD_NUMBER: _ClassVar[int]
    shard: int
    collection_id: str
    term: int
    chosen: ReplicaPlace
    given_up: _containers.RepeatedCompositeFieldContainer[ReplicaPlace]
    def __init__(self, shard: _Optional[int] = ..., collection_id: _Optional[str] = ..., term: _Optional[int] = ..., chosen: _Optional[_Union[ReplicaPlace, _Mapping]] = ..., given_up: _Optional[_Iterable[_Union[ReplicaPlace, _Mapping]]] = ...) -> None: ...

class ReplicaPlace(_message.Message):
    __slots__ = ("replica", "worker", "role", "term", "seq")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    replica: str
    worker: str
    role: str
    term: int
    seq: int
    def __init__(self, replica: _Optional[str] = ..., worker: _Optional[str] = ..., role: _Optional[str] = ..., term: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class ListAuditRequest(_message.Message):
    __slots__ = ("limit", "before")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    limit: int
    before: str
    def __init__(self, limit: _Optional[int] = ..., before: _Optional[str] = ...) -> None: ...

class ListAuditResponse(_message.Message):
    __slots__ = ("entries", "next")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("time_ms", "action", "collection", "recovery", "reason", "asked_by", "request_id", "subject")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    action: str
    collection: str
    recovery: Recovery
    reason: str
    asked_by: str
    request_id: str
    subject: str
    def __init__(self, time_ms: _Optional[int] = ..., action: _Optional[str] = ..., collection: _Optional[str] = ..., recovery: _Optional[_Union[Recovery, _Mapping]] = ..., reason: _Optional[str] = ..., asked_by: _Optional[str] = ..., request_id: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...
