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

class SearchRequest(_message.Message):
    __slots__ = ("collection", "legs", "k", "exact", "filter", "params", "recall", "radius", "explain", "with_payload", "with_vectors", "allow_partial", "consistency", "min_seqs")
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
    def __init__(self, collection: _Optional[str] = ..., legs: _Optional[_Iterable[_Union[SearchLeg, _Mapping]]] = ..., k: _Optional[int] = ..., exact: bool = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., params: _Optional[_Mapping[str, float]] = ..., recall: _Optional[float] = ..., radius: _Optional[float] = ..., explain: bool = ..., with_payload: bool = ..., with_vectors: bool = ..., allow_partial: bool = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "missing_shards")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SHARDS_FIELD_NUMBER: _ClassVar[int]
    hits: _common_pb2.Hits
    missing_shards: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hits: _Optional[_Union[_common_pb2.Hits, _Mapping]] = ..., missing_shards: _Optional[_Iterable[str]] = ...) -> None: ...
