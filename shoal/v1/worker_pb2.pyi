from shoal.v1 import collections_pb2 as _collections_pb2
from shoal.v1 import common_pb2 as _common_pb2
from shoal.v1 import filter_pb2 as _filter_pb2
from shoal.v1 import search_pb2 as _search_pb2
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
    __slots__ = ("consistency", "min_seq", "caller")
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    consistency: _common_pb2.Consistency
    min_seq: int
    caller: str
    def __init__(self, consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seq: _Optional[int] = ..., caller: _Optional[str] = ...) -> None: ...

class ShardWriteRequest(_message.Message):
    __slots__ = ("shard", "request_id", "upsert", "delete", "delete_matching", "update")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DELETE_MATCHING_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    request_id: _common_pb2.RequestId
    upsert: bytes
    delete: _common_pb2.PointIds
    delete_matching: _filter_pb2.Filter
    update: bytes
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., upsert: _Optional[bytes] = ..., delete: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., delete_matching: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., update: _Optional[bytes] = ...) -> None: ...

class PointUpdate(_message.Message):
    __slots__ = ("ids", "filter", "change")
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    ids: _common_pb2.PointIds
    filter: _filter_pb2.Filter
    change: _common_pb2.PointChange
    def __init__(self, ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., change: _Optional[_Union[_common_pb2.PointChange, _Mapping]] = ...) -> None: ...

class PayloadColumn(_message.Message):
    __slots__ = ("payloads",)
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, payloads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ShardWriteResponse(_message.Message):
    __slots__ = ("seq", "affected", "more")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    affected: int
    more: bool
    def __init__(self, seq: _Optional[int] = ..., affected: _Optional[int] = ..., more: bool = ...) -> None: ...

class ShardSearchRequest(_message.Message):
    __slots__ = ("shard", "queries", "groups", "exact", "recall", "ef", "nprobe", "radius", "explain", "with_payload", "with_vectors", "terms", "vector")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    NPROBE_FIELD_NUMBER: _ClassVar[int]
    RADIUS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    queries: _common_pb2.Vectors
    groups: _containers.RepeatedCompositeFieldContainer[_search_pb2.QueryGroup]
    exact: bool
    recall: float
    ef: int
    nprobe: int
    radius: float
    explain: bool
    with_payload: bool
    with_vectors: bool
    terms: ReadTerms
    vector: str
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., queries: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[_search_pb2.QueryGroup, _Mapping]]] = ..., exact: bool = ..., recall: _Optional[float] = ..., ef: _Optional[int] = ..., nprobe: _Optional[int] = ..., radius: _Optional[float] = ..., explain: bool = ..., with_payload: bool = ..., with_vectors: bool = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ..., vector: _Optional[str] = ...) -> None: ...

class ShardSearchResponse(_message.Message):
    __slots__ = ("hits", "explain")
    HITS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    explain: _containers.RepeatedCompositeFieldContainer[_search_pb2.SegmentExplain]
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ..., explain: _Optional[_Iterable[_Union[_search_pb2.SegmentExplain, _Mapping]]] = ...) -> None: ...

class SearchShardsRequest(_message.Message):
    __slots__ = ("search", "shards", "min_seqs")
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    search: ShardSearchRequest
    shards: _containers.RepeatedScalarFieldContainer[int]
    min_seqs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, search: _Optional[_Union[ShardSearchRequest, _Mapping]] = ..., shards: _Optional[_Iterable[int]] = ..., min_seqs: _Optional[_Iterable[int]] = ...) -> None: ...

class SearchShardsResponse(_message.Message):
    __slots__ = ("hits", "explain", "answered", "failed")
    HITS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    explain: _containers.RepeatedCompositeFieldContainer[_search_pb2.SegmentExplain]
    answered: _containers.RepeatedScalarFieldContainer[int]
    failed: _containers.RepeatedCompositeFieldContainer[ShardFailure]
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ..., explain: _Optional[_Iterable[_Union[_search_pb2.SegmentExplain, _Mapping]]] = ..., answered: _Optional[_Iterable[int]] = ..., failed: _Optional[_Iterable[_Union[ShardFailure, _Mapping]]] = ...) -> None: ...

class ShardFailure(_message.Message):
    __slots__ = ("shard", "status", "message", "details")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    status: str
    message: str
    details: _common_pb2.ErrorInfo
    def __init__(self, shard: _Optional[int] = ..., status: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[_Union[_common_pb2.ErrorInfo, _Mapping]] = ...) -> None: ...

class TextShards(_message.Message):
    __slots__ = ("first", "shards", "min_seqs", "consistency", "caller")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    first: ShardRef
    shards: _containers.RepeatedScalarFieldContainer[int]
    min_seqs: _containers.RepeatedScalarFieldContainer[int]
    consistency: _common_pb2.Consistency
    caller: str
    def __init__(self, first: _Optional[_Union[ShardRef, _Mapping]] = ..., shards: _Optional[_Iterable[int]] = ..., min_seqs: _Optional[_Iterable[int]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., caller: _Optional[str] = ...) -> None: ...

class TextStatsRequest(_message.Message):
    __slots__ = ("shards", "queries")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    shards: TextShards
    queries: _containers.RepeatedCompositeFieldContainer[_search_pb2.TextQuery]
    def __init__(self, shards: _Optional[_Union[TextShards, _Mapping]] = ..., queries: _Optional[_Iterable[_Union[_search_pb2.TextQuery, _Mapping]]] = ...) -> None: ...

class TextStatsResponse(_message.Message):
    __slots__ = ("statistics", "failed")
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    statistics: TextStatistics
    failed: _containers.RepeatedCompositeFieldContainer[ShardFailure]
    def __init__(self, statistics: _Optional[_Union[TextStatistics, _Mapping]] = ..., failed: _Optional[_Iterable[_Union[ShardFailure, _Mapping]]] = ...) -> None: ...

class TextStatistics(_message.Message):
    __slots__ = ("fields", "rows", "tokens", "words", "holding")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedScalarFieldContainer[str]
    rows: _containers.RepeatedScalarFieldContainer[int]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    words: _containers.RepeatedCompositeFieldContainer[TextWord]
    holding: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, fields: _Optional[_Iterable[str]] = ..., rows: _Optional[_Iterable[int]] = ..., tokens: _Optional[_Iterable[int]] = ..., words: _Optional[_Iterable[_Union[TextWord, _Mapping]]] = ..., holding: _Optional[_Iterable[int]] = ...) -> None: ...

class TextWord(_message.Message):
    __slots__ = ("field", "word", "prefix")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    field: str
    word: bytes
    prefix: bool
    def __init__(self, field: _Optional[str] = ..., word: _Optional[bytes] = ..., prefix: bool = ...) -> None: ...

class TextSearchRequest(_message.Message):
    __slots__ = ("shards", "queries", "groups", "statistics", "min_score", "shares", "explain")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    shards: TextShards
    queries: _containers.RepeatedCompositeFieldContainer[_search_pb2.TextQuery]
    groups: _containers.RepeatedCompositeFieldContainer[_search_pb2.QueryGroup]
    statistics: TextStatistics
    min_score: float
    shares: bool
    explain: bool
    def __init__(self, shards: _Optional[_Union[TextShards, _Mapping]] = ..., queries: _Optional[_Iterable[_Union[_search_pb2.TextQuery, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[_search_pb2.QueryGroup, _Mapping]]] = ..., statistics: _Optional[_Union[TextStatistics, _Mapping]] = ..., min_score: _Optional[float] = ..., shares: bool = ..., explain: bool = ...) -> None: ...

class TextSearchResponse(_message.Message):
    __slots__ = ("counts", "ids", "scores", "shares", "failed", "explain", "statistics", "wordless")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    WORDLESS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    ids: _common_pb2.PointIds
    scores: _containers.RepeatedScalarFieldContainer[float]
    shares: _containers.RepeatedCompositeFieldContainer[WordShares]
    failed: _containers.RepeatedCompositeFieldContainer[ShardFailure]
    explain: _containers.RepeatedCompositeFieldContainer[_search_pb2.TextExplain]
    statistics: TextStatistics
    wordless: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., scores: _Optional[_Iterable[float]] = ..., shares: _Optional[_Iterable[_Union[WordShares, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[ShardFailure, _Mapping]]] = ..., explain: _Optional[_Iterable[_Union[_search_pb2.TextExplain, _Mapping]]] = ..., statistics: _Optional[_Union[TextStatistics, _Mapping]] = ..., wordless: _Optional[_Iterable[int]] = ...) -> None: ...

class WordShares(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[_search_pb2.WordShare]
    def __init__(self, words: _Optional[_Iterable[_Union[_search_pb2.WordShare, _Mapping]]] = ...) -> None: ...

class TextMarksRequest(_message.Message):
    __slots__ = ("shard", "ids", "query", "terms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    ids: _common_pb2.PointIds
    query: _search_pb2.TextQuery
    terms: ReadTerms
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., query: _Optional[_Union[_search_pb2.TextQuery, _Mapping]] = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ...) -> None: ...

class TextMarksResponse(_message.Message):
    __slots__ = ("marks",)
    MARKS_FIELD_NUMBER: _ClassVar[int]
    marks: _containers.RepeatedCompositeFieldContainer[_search_pb2.Highlights]
    def __init__(self, marks: _Optional[_Iterable[_Union[_search_pb2.Highlights, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("shard", "after", "limit", "with_payload", "with_vectors", "terms", "filter")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    after: _common_pb2.PointIds
    limit: int
    with_payload: bool
    with_vectors: bool
    terms: ReadTerms
    filter: _filter_pb2.Filter
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., after: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., limit: _Optional[int] = ..., with_payload: bool = ..., with_vectors: bool = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ...) -> None: ...

class ShardPointsResponse(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _common_pb2.PointBatch
    def __init__(self, points: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ...) -> None: ...

class ShardCountRequest(_message.Message):
    __slots__ = ("shard", "terms", "filter")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    terms: ReadTerms
    filter: _filter_pb2.Filter
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., terms: _Optional[_Union[ReadTerms, _Mapping]] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("role", "term", "applied_seq", "points", "growing_rows", "sealed_rows", "segments", "builds_pending", "bytes", "memory_bytes", "waiting")
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
    WAITING_FIELD_NUMBER: _ClassVar[int]
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
    waiting: str
    def __init__(self, role: _Optional[str] = ..., term: _Optional[int] = ..., applied_seq: _Optional[int] = ..., points: _Optional[int] = ..., growing_rows: _Optional[int] = ..., sealed_rows: _Optional[int] = ..., segments: _Optional[int] = ..., builds_pending: _Optional[int] = ..., bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., waiting: _Optional[str] = ...) -> None: ...

class ShardOptimizeRequest(_message.Message):
    __slots__ = ("shard",)
    SHARD_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ...) -> None: ...

class ShardOptimizeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShardTuneRequest(_message.Message):
    __slots__ = ("shard", "k", "queries", "vector")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    k: int
    queries: _common_pb2.Vectors
    vector: str
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., k: _Optional[int] = ..., queries: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., vector: _Optional[str] = ...) -> None: ...

class ShardTuneResponse(_message.Message):
    __slots__ = ("curves",)
    CURVES_FIELD_NUMBER: _ClassVar[int]
    curves: _containers.RepeatedCompositeFieldContainer[_collections_pb2.SegmentCurve]
    def __init__(self, curves: _Optional[_Iterable[_Union[_collections_pb2.SegmentCurve, _Mapping]]] = ...) -> None: ...

class ShardMeasureRecallRequest(_message.Message):
    __slots__ = ("shard", "k", "sample", "recall", "vector")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    shard: ShardRef
    k: int
    sample: int
    recall: float
    vector: str
    def __init__(self, shard: _Optional[_Union[ShardRef, _Mapping]] = ..., k: _Optional[int] = ..., sample: _Optional[int] = ..., recall: _Optional[float] = ..., vector: _Optional[str] = ...) -> None: ...

class ShardMeasureRecallResponse(_message.Message):
    __slots__ = ("measured",)
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    measured: _collections_pb2.ShardRecall
    def __init__(self, measured: _Optional[_Union[_collections_pb2.ShardRecall, _Mapping]] = ...) -> None: ...

class WorkerStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerStatusResponse(_message.Message):
    __slots__ = ("memory_bytes", "failed", "disk", "serving", "memory_budget_bytes", "memory_used_bytes", "replica_bytes", "replicas", "file_limit", "files_open", "hand_overs")
    class FailedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ReplicaBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ReplicasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReplicaStatus
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReplicaStatus, _Mapping]] = ...) -> None: ...
    class HandOversEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: HandOverTime
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[HandOverTime, _Mapping]] = ...) -> None: ...
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICA_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    FILE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILES_OPEN_FIELD_NUMBER: _ClassVar[int]
    HAND_OVERS_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    failed: _containers.ScalarMap[str, str]
    disk: str
    serving: _containers.RepeatedScalarFieldContainer[str]
    memory_budget_bytes: int
    memory_used_bytes: int
    replica_bytes: _containers.ScalarMap[str, int]
    replicas: _containers.MessageMap[str, ReplicaStatus]
    file_limit: int
    files_open: int
    hand_overs: _containers.MessageMap[str, HandOverTime]
    def __init__(self, memory_bytes: _Optional[int] = ..., failed: _Optional[_Mapping[str, str]] = ..., disk: _Optional[str] = ..., serving: _Optional[_Iterable[str]] = ..., memory_budget_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., replica_bytes: _Optional[_Mapping[str, int]] = ..., replicas: _Optional[_Mapping[str, ReplicaStatus]] = ..., file_limit: _Optional[int] = ..., files_open: _Optional[int] = ..., hand_overs: _Optional[_Mapping[str, HandOverTime]] = ...) -> None: ...

class HandOverTime(_message.Message):
    __slots__ = ("seconds", "ended_ms")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    ended_ms: int
    def __init__(self, seconds: _Optional[float] = ..., ended_ms: _Optional[int] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("replica", "role", "applied_seq", "memory_bytes", "disk_bytes", "builds_pending", "snapshot")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILDS_PENDING_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    replica: str
    role: str
    applied_seq: int
    memory_bytes: int
    disk_bytes: int
    builds_pending: int
    snapshot: SnapshotProgress
    def __init__(self, replica: _Optional[str] = ..., role: _Optional[str] = ..., applied_seq: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., builds_pending: _Optional[int] = ..., snapshot: _Optional[_Union[SnapshotProgress, _Mapping]] = ...) -> None: ...

class SnapshotProgress(_message.Message):
    __slots__ = ("done_bytes", "total_bytes", "bytes_per_s")
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    def __init__(self, done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., bytes_per_s: _Optional[float] = ...) -> None: ...
