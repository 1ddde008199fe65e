from shoal.v1 import common_pb2 as _common_pb2
from shoal.v1 import filter_pb2 as _filter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchLeg(_message.Message):
    __slots__ = ("field", "vectors", "texts", "name", "weight", "min_score")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    field: str
    vectors: _common_pb2.Vectors
    texts: TextQueries
    name: str
    weight: float
    min_score: float
    def __init__(self, field: _Optional[str] = ..., vectors: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., texts: _Optional[_Union[TextQueries, _Mapping]] = ..., name: _Optional[str] = ..., weight: _Optional[float] = ..., min_score: _Optional[float] = ...) -> None: ...

class TextQueries(_message.Message):
    __slots__ = ("queries",)
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[TextQuery]
    def __init__(self, queries: _Optional[_Iterable[_Union[TextQuery, _Mapping]]] = ...) -> None: ...

class TextQuery(_message.Message):
    __slots__ = ("text", "fields", "match", "must", "must_not", "phrases", "prefix")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    MUST_FIELD_NUMBER: _ClassVar[int]
    MUST_NOT_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    text: str
    fields: _containers.ScalarMap[str, float]
    match: str
    must: _containers.RepeatedScalarFieldContainer[str]
    must_not: _containers.RepeatedScalarFieldContainer[str]
    phrases: _containers.RepeatedScalarFieldContainer[str]
    prefix: str
    def __init__(self, text: _Optional[str] = ..., fields: _Optional[_Mapping[str, float]] = ..., match: _Optional[str] = ..., must: _Optional[_Iterable[str]] = ..., must_not: _Optional[_Iterable[str]] = ..., phrases: _Optional[_Iterable[str]] = ..., prefix: _Optional[str] = ...) -> None: ...

class Fusion(_message.Message):
    __slots__ = ("kind", "c")
    KIND_FIELD_NUMBER: _ClassVar[int]
    C_FIELD_NUMBER: _ClassVar[int]
    kind: str
    c: float
    def __init__(self, kind: _Optional[str] = ..., c: _Optional[float] = ...) -> None: ...

class GroupBy(_message.Message):
    __slots__ = ("path", "size")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("collection", "legs", "k", "exact", "filter", "params", "recall", "radius", "explain", "with_payload", "with_vectors", "allow_partial", "consistency", "min_seqs", "groups", "fusion", "candidates", "offset", "threshold", "diversity", "group_by", "highlight")
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
    FUSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHT_FIELD_NUMBER: _ClassVar[int]
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
    fusion: Fusion
    candidates: int
    offset: int
    threshold: float
    diversity: float
    group_by: GroupBy
    highlight: bool
    def __init__(self, collection: _Optional[str] = ..., legs: _Optional[_Iterable[_Union[SearchLeg, _Mapping]]] = ..., k: _Optional[int] = ..., exact: bool = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., params: _Optional[_Mapping[str, float]] = ..., recall: _Optional[float] = ..., radius: _Optional[float] = ..., explain: bool = ..., with_payload: bool = ..., with_vectors: bool = ..., allow_partial: bool = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[QueryGroup, _Mapping]]] = ..., fusion: _Optional[_Union[Fusion, _Mapping]] = ..., candidates: _Optional[int] = ..., offset: _Optional[int] = ..., threshold: _Optional[float] = ..., diversity: _Optional[float] = ..., group_by: _Optional[_Union[GroupBy, _Mapping]] = ..., highlight: bool = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "missing_shards", "explain", "fused")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SHARDS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    FUSED_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    missing_shards: _containers.RepeatedScalarFieldContainer[str]
    explain: _containers.RepeatedCompositeFieldContainer[SegmentExplain]
    fused: FusedHits
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ..., missing_shards: _Optional[_Iterable[str]] = ..., explain: _Optional[_Iterable[_Union[SegmentExplain, _Mapping]]] = ..., fused: _Optional[_Union[FusedHits, _Mapping]] = ...) -> None: ...

class FusedHits(_message.Message):
    __slots__ = ("legs", "highlights", "group_values", "complete", "explain")
    LEGS_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    GROUP_VALUES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    legs: _containers.RepeatedCompositeFieldContainer[LegHits]
    highlights: _containers.RepeatedCompositeFieldContainer[Highlights]
    group_values: _containers.RepeatedScalarFieldContainer[str]
    complete: _containers.RepeatedScalarFieldContainer[bool]
    explain: FusedExplain
    def __init__(self, legs: _Optional[_Iterable[_Union[LegHits, _Mapping]]] = ..., highlights: _Optional[_Iterable[_Union[Highlights, _Mapping]]] = ..., group_values: _Optional[_Iterable[str]] = ..., complete: _Optional[_Iterable[bool]] = ..., explain: _Optional[_Union[FusedExplain, _Mapping]] = ...) -> None: ...

class LegHits(_message.Message):
    __slots__ = ("name", "ranks", "scores", "wordless")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    WORDLESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ranks: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    wordless: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., ranks: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ..., wordless: _Optional[_Iterable[int]] = ...) -> None: ...

class Highlights(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[FieldSpans]
    def __init__(self, fields: _Optional[_Iterable[_Union[FieldSpans, _Mapping]]] = ...) -> None: ...

class FieldSpans(_message.Message):
    __slots__ = ("field", "begins", "ends")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    field: str
    begins: _containers.RepeatedScalarFieldContainer[int]
    ends: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, field: _Optional[str] = ..., begins: _Optional[_Iterable[int]] = ..., ends: _Optional[_Iterable[int]] = ...) -> None: ...

class FusedExplain(_message.Message):
    __slots__ = ("legs", "hits", "texts")
    LEGS_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    legs: _containers.RepeatedCompositeFieldContainer[LegExplain]
    hits: _containers.RepeatedCompositeFieldContainer[HitExplain]
    texts: _containers.RepeatedCompositeFieldContainer[TextExplain]
    def __init__(self, legs: _Optional[_Iterable[_Union[LegExplain, _Mapping]]] = ..., hits: _Optional[_Iterable[_Union[HitExplain, _Mapping]]] = ..., texts: _Optional[_Iterable[_Union[TextExplain, _Mapping]]] = ...) -> None: ...

class LegExplain(_message.Message):
    __slots__ = ("query", "leg", "hits", "padded", "lowest", "highest", "deviation", "us")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    LEG_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    PADDED_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    US_FIELD_NUMBER: _ClassVar[int]
    query: int
    leg: str
    hits: int
    padded: int
    lowest: float
    highest: float
    deviation: float
    us: float
    def __init__(self, query: _Optional[int] = ..., leg: _Optional[str] = ..., hits: _Optional[int] = ..., padded: _Optional[int] = ..., lowest: _Optional[float] = ..., highest: _Optional[float] = ..., deviation: _Optional[float] = ..., us: _Optional[float] = ...) -> None: ...

class HitExplain(_message.Message):
    __slots__ = ("arithmetic", "words", "penalty")
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    PENALTY_FIELD_NUMBER: _ClassVar[int]
    arithmetic: str
    words: _containers.RepeatedCompositeFieldContainer[WordShare]
    penalty: float
    def __init__(self, arithmetic: _Optional[str] = ..., words: _Optional[_Iterable[_Union[WordShare, _Mapping]]] = ..., penalty: _Optional[float] = ...) -> None: ...

class WordShare(_message.Message):
    __slots__ = ("field", "word", "share", "prefix")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    field: str
    word: str
    share: float
    prefix: bool
    def __init__(self, field: _Optional[str] = ..., word: _Optional[str] = ..., share: _Optional[float] = ..., prefix: bool = ...) -> None: ...

class TextExplain(_message.Message):
    __slots__ = ("shard", "segment", "state", "query", "rows", "words", "postings", "plan", "eligible", "scored", "us")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    POSTINGS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    US_FIELD_NUMBER: _ClassVar[int]
    shard: int
    segment: str
    state: str
    query: int
    rows: int
    words: int
    postings: int
    plan: str
    eligible: int
    scored: int
    us: float
    def __init__(self, shard: _Optional[int] = ..., segment: _Optional[str] = ..., state: _Optional[str] = ..., query: _Optional[int] = ..., rows: _Optional[int] = ..., words: _Optional[int] = ..., postings: _Optional[int] = ..., plan: _Optional[str] = ..., eligible: _Optional[int] = ..., scored: _Optional[int] = ..., us: _Optional[float] = ...) -> None: ...

class SegmentExplain(_message.Message):
    __slots__ = ("shard", "segment", "state", "index", "group", "queries", "rows", "plan", "estimated_selectivity", "selectivity", "candidates", "breadth", "breadth_name", "fallbacks", "filter_us", "search_us", "score_us", "filter_cached", "vector")
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
    VECTOR_FIELD_NUMBER: _ClassVar[int]
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
    vector: str
    def __init__(self, shard: _Optional[int] = ..., segment: _Optional[str] = ..., state: _Optional[str] = ..., index: _Optional[str] = ..., group: _Optional[int] = ..., queries: _Optional[int] = ..., rows: _Optional[int] = ..., plan: _Optional[str] = ..., estimated_selectivity: _Optional[float] = ..., selectivity: _Optional[float] = ..., candidates: _Optional[int] = ..., breadth: _Optional[int] = ..., breadth_name: _Optional[str] = ..., fallbacks: _Optional[int] = ..., filter_us: _Optional[float] = ..., search_us: _Optional[float] = ..., score_us: _Optional[float] = ..., filter_cached: bool = ..., vector: _Optional[str] = ...) -> None: ...
