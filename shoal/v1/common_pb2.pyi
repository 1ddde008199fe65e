from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Consistency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSISTENCY_UNSPECIFIED: _ClassVar[Consistency]
    CONSISTENCY_ANY: _ClassVar[Consistency]
    CONSISTENCY_SESSION: _ClassVar[Consistency]
    CONSISTENCY_PRIMARY: _ClassVar[Consistency]
CONSISTENCY_UNSPECIFIED: Consistency
CONSISTENCY_ANY: Consistency
CONSISTENCY_SESSION: Consistency
CONSISTENCY_PRIMARY: Consistency

class PointIds(_message.Message):
    __slots__ = ("integers", "strings", "string_positions")
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    STRING_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    integers: _containers.RepeatedScalarFieldContainer[int]
    strings: _containers.RepeatedScalarFieldContainer[str]
    string_positions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, integers: _Optional[_Iterable[int]] = ..., strings: _Optional[_Iterable[str]] = ..., string_positions: _Optional[_Iterable[int]] = ...) -> None: ...

class Vectors(_message.Message):
    __slots__ = ("dim", "data", "values")
    DIM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    dim: int
    data: bytes
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, dim: _Optional[int] = ..., data: _Optional[bytes] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class NamedVectors(_message.Message):
    __slots__ = ("name", "vectors", "positions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    vectors: Vectors
    positions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., vectors: _Optional[_Union[Vectors, _Mapping]] = ..., positions: _Optional[_Iterable[int]] = ...) -> None: ...

class PointBatch(_message.Message):
    __slots__ = ("ids", "vectors", "payloads", "named")
    IDS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    ids: PointIds
    vectors: Vectors
    payloads: _containers.RepeatedScalarFieldContainer[str]
    named: _containers.RepeatedCompositeFieldContainer[NamedVectors]
    def __init__(self, ids: _Optional[_Union[PointIds, _Mapping]] = ..., vectors: _Optional[_Union[Vectors, _Mapping]] = ..., payloads: _Optional[_Iterable[str]] = ..., named: _Optional[_Iterable[_Union[NamedVectors, _Mapping]]] = ...) -> None: ...

class PointChange(_message.Message):
    __slots__ = ("set_payload", "replace_payload", "delete_payload", "vectors", "named", "packed")
    SET_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REPLACE_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DELETE_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    set_payload: str
    replace_payload: str
    delete_payload: PayloadPaths
    vectors: Vectors
    named: NamedVectorsChange
    packed: PackedVectorsChange
    def __init__(self, set_payload: _Optional[str] = ..., replace_payload: _Optional[str] = ..., delete_payload: _Optional[_Union[PayloadPaths, _Mapping]] = ..., vectors: _Optional[_Union[Vectors, _Mapping]] = ..., named: _Optional[_Union[NamedVectorsChange, _Mapping]] = ..., packed: _Optional[_Union[PackedVectorsChange, _Mapping]] = ...) -> None: ...

class NamedVectorsChange(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[NamedVectors]
    def __init__(self, vectors: _Optional[_Iterable[_Union[NamedVectors, _Mapping]]] = ...) -> None: ...

class PackedVectorsChange(_message.Message):
    __slots__ = ("rows", "dims")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DIMS_FIELD_NUMBER: _ClassVar[int]
    rows: Vectors
    dims: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, rows: _Optional[_Union[Vectors, _Mapping]] = ..., dims: _Optional[_Iterable[int]] = ...) -> None: ...

class PayloadPaths(_message.Message):
    __slots__ = ("paths",)
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedCompositeFieldContainer[PayloadPath]
    def __init__(self, paths: _Optional[_Iterable[_Union[PayloadPath, _Mapping]]] = ...) -> None: ...

class PayloadPath(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class RequestId(_message.Message):
    __slots__ = ("client", "number")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    client: str
    number: int
    def __init__(self, client: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class ShardSeq(_message.Message):
    __slots__ = ("collection_id", "shard", "seq")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    shard: int
    seq: int
    def __init__(self, collection_id: _Optional[str] = ..., shard: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class Hits(_message.Message):
    __slots__ = ("counts", "ids", "scores", "payloads", "vectors", "named")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    ids: PointIds
    scores: _containers.RepeatedScalarFieldContainer[float]
    payloads: _containers.RepeatedScalarFieldContainer[str]
    vectors: Vectors
    named: _containers.RepeatedCompositeFieldContainer[NamedVectors]
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., ids: _Optional[_Union[PointIds, _Mapping]] = ..., scores: _Optional[_Iterable[float]] = ..., payloads: _Optional[_Iterable[str]] = ..., vectors: _Optional[_Union[Vectors, _Mapping]] = ..., named: _Optional[_Iterable[_Union[NamedVectors, _Mapping]]] = ...) -> None: ...

class ErrorInfo(_message.Message):
    __slots__ = ("field", "limit", "shard", "index", "applied", "retry_after_ms")
    class AppliedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    field: str
    limit: str
    shard: str
    index: int
    applied: _containers.ScalarMap[str, str]
    retry_after_ms: int
    def __init__(self, field: _Optional[str] = ..., limit: _Optional[str] = ..., shard: _Optional[str] = ..., index: _Optional[int] = ..., applied: _Optional[_Mapping[str, str]] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
