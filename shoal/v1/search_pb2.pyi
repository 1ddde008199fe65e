from shoal.v1 import common_pb2 as _common_pb2
from shoal.v1 import filter_pb2 as _filter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchLeg(_message.Message):
    __slots__ = ("field", "vectors")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    field: str
    vectors: _common_pb2.Vectors
    def __init__(self, field: _Optional[str] = ..., vectors: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ...) -> None: ...

class QueryGroup(_message.Message):
    __slots__ = ("queries", "k", "filter")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedScalarFieldContainer[int]
    k: int
    filter: _filter_pb2.Filter
    def __init__(self, queries: _Optional[_Iterable[int]] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "legs", "k", "exact", "filter", "params", "recall", "radius", "explain", "with_payload", "with_vectors", "allow_partial", "consistency", "min_seqs", "groups")
    class ParamsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RADIUS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PARTIAL_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    legs: _containers.RepeatedCompositeFieldContainer[SearchLeg]
    k: int
    exact: bool
    filter: _filter_pb2.Filter
    params: _containers.ScalarMap[str, float]
    recall: float
    radius: float
    explain: bool
    with_payload: bool
    with_vectors: bool
    allow_partial: bool
    consistency: _common_pb2.Consistency
    min_seqs: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    groups: _containers.RepeatedCompositeFieldContainer[QueryGroup]
    def __init__(self, collection: _Optional[str] = ..., legs: _Optional[_Iterable[_Union[SearchLeg, _Mapping]]] = ..., k: _Optional[int] = ..., exact: bool = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., params: _Optional[_Mapping[str, float]] = ..., recall: _Optional[float] = ..., radius: _Optional[float] = ..., explain: bool = ..., with_payload: bool = ..., with_vectors: bool = ..., allow_partial: bool = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[QueryGroup, _Mapping]]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "missing_shards", "explain")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SHARDS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    missing_shards: _containers.RepeatedScalarFieldContainer[str]
    explain: _containers.RepeatedCompositeFieldContainer[SegmentExplain]
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ..., missing_shards: _Optional[_Iterable[str]] = ..., explain: _Optional[_Iterable[_Union[SegmentExplain, _Mapping]]] = ...) -> None: ...

class SegmentExplain(_message.Message):
    __slots__ = ("shard", "segment", "state", "index", "group", "queries", "rows", "plan", "estimated_selectivity", "selectivity", "candidates", "breadth", "breadth_name", "fallbacks", "filter_us", "search_us", "score_us", "filter_cached")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_SELECTIVITY_FIELD_NUMBER: _ClassVar[int]
    SELECTIVITY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    BREADTH_FIELD_NUMBER: _ClassVar[int]
    BREADTH_NAME_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    FILTER_US_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    SCORE_US_FIELD_NUMBER: _ClassVar[int]
    FILTER_CACHED_FIELD_NUMBER: _ClassVar[int]
    shard: int
    segment: str
    state: str
    index: str
    group: int
    queries: int
    rows: int
    plan: str
    estimated_selectivity: float
    selectivity: float
    candidates: int
    breadth: int
    breadth_name: str
    fallbacks: int
    filter_us: float
    search_us: float
    score_us: float
    filter_cached: bool
    def __init__(self, shard: _Optional[int] = ..., segment: _Optional[str] = ..., state: _Optional[str] = ..., index: _Optional[str] = ..., group: _Optional[int] = ..., queries: _Optional[int] = ..., rows: _Optional[int] = ..., plan: _Optional[str] = ..., estimated_selectivity: _Optional[float] = ..., selectivity: _Optional[float] = ..., candidates: _Optional[int] = ..., breadth: _Optional[int] = ..., breadth_name: _Optional[str] = ..., fallbacks: _Optional[int] = ..., filter_us: _Optional[float] = ..., search_us: _Optional[float] = ..., score_us: _Optional[float] = ..., filter_cached: bool = ...) -> None: ...
