from shoal.v1 import common_pb2 as _common_pb2
from shoal.v1 import filter_pb2 as _filter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpsertRequest(_message.Message):
    __slots__ = ("collection", "points", "request_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    points: _common_pb2.PointBatch
    request_id: _common_pb2.RequestId
    def __init__(self, collection: _Optional[str] = ..., points: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class UpsertResponse(_message.Message):
    __slots__ = ("written",)
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    written: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    def __init__(self, written: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter", "request_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _common_pb2.PointIds
    filter: _filter_pb2.Filter
    request_id: _common_pb2.RequestId
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("written", "deleted")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    written: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    deleted: int
    def __init__(self, written: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., deleted: _Optional[int] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter", "change", "request_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _common_pb2.PointIds
    filter: _filter_pb2.Filter
    change: _common_pb2.PointChange
    request_id: _common_pb2.RequestId
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., change: _Optional[_Union[_common_pb2.PointChange, _Mapping]] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("written", "updated")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    written: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    updated: int
    def __init__(self, written: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., updated: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_payload", "with_vectors", "consistency", "min_seqs", "in_parts")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    IN_PARTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _common_pb2.PointIds
    with_payload: bool
    with_vectors: bool
    consistency: _common_pb2.Consistency
    min_seqs: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    in_parts: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., with_payload: bool = ..., with_vectors: bool = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., in_parts: bool = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("points", "answered")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    points: _common_pb2.PointBatch
    answered: int
    def __init__(self, points: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ..., answered: _Optional[int] = ...) -> None: ...

class CountRequest(_message.Message):
    __slots__ = ("collection", "filter", "consistency", "min_seqs")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _filter_pb2.Filter
    consistency: _common_pb2.Consistency
    min_seqs: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ...) -> None: ...

class CountResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ScrollRequest(_message.Message):
    __slots__ = ("collection", "after", "limit", "filter", "with_payload", "with_vectors", "consistency", "min_seqs", "collection_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after: _common_pb2.PointIds
    limit: int
    filter: _filter_pb2.Filter
    with_payload: bool
    with_vectors: bool
    consistency: _common_pb2.Consistency
    min_seqs: _containers.RepeatedCompositeFieldContainer[_common_pb2.ShardSeq]
    collection_id: str
    def __init__(self, collection: _Optional[str] = ..., after: _Optional[_Union[_common_pb2.PointIds, _Mapping]] = ..., limit: _Optional[int] = ..., filter: _Optional[_Union[_filter_pb2.Filter, _Mapping]] = ..., with_payload: bool = ..., with_vectors: bool = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., min_seqs: _Optional[_Iterable[_Union[_common_pb2.ShardSeq, _Mapping]]] = ..., collection_id: _Optional[str] = ...) -> None: ...

class ScrollResponse(_message.Message):
    __slots__ = ("points", "more", "collection_id")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    points: _common_pb2.PointBatch
    more: bool
    collection_id: str
    def __init__(self, points: _Optional[_Union[_common_pb2.PointBatch, _Mapping]] = ..., more: bool = ..., collection_id: _Optional[str] = ...) -> None: ...
