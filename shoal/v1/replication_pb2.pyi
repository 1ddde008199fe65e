from shoal.v1 import common_pb2 as _common_pb2
from shoal.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogRecord(_message.Message):
    __slots__ = ("term", "seq", "kind", "time_ms", "request_id", "body")
    TERM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    term: int
    seq: int
    kind: int
    time_ms: int
    request_id: _common_pb2.RequestId
    body: bytes
    def __init__(self, term: _Optional[int] = ..., seq: _Optional[int] = ..., kind: _Optional[int] = ..., time_ms: _Optional[int] = ..., request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., body: _Optional[bytes] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("shard", "term", "primary", "to", "prev_term", "prev_seq", "records", "commit_seq", "behind")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    PREV_SEQ_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    shard: _worker_pb2.ShardRef
    term: int
    primary: str
    to: str
    prev_term: int
    prev_seq: int
    records: _containers.RepeatedCompositeFieldContainer[LogRecord]
    commit_seq: int
    behind: bool
    def __init__(self, shard: _Optional[_Union[_worker_pb2.ShardRef, _Mapping]] = ..., term: _Optional[int] = ..., primary: _Optional[str] = ..., to: _Optional[str] = ..., prev_term: _Optional[int] = ..., prev_seq: _Optional[int] = ..., records: _Optional[_Iterable[_Union[LogRecord, _Mapping]]] = ..., commit_seq: _Optional[int] = ..., behind: bool = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("matched", "diverged", "refused")
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    DIVERGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    matched: Matched
    diverged: Diverged
    refused: int
    def __init__(self, matched: _Optional[_Union[Matched, _Mapping]] = ..., diverged: _Optional[_Union[Diverged, _Mapping]] = ..., refused: _Optional[int] = ...) -> None: ...

class Matched(_message.Message):
    __slots__ = ("through", "no_room", "no_room_limit")
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    NO_ROOM_FIELD_NUMBER: _ClassVar[int]
    NO_ROOM_LIMIT_FIELD_NUMBER: _ClassVar[int]
    through: int
    no_room: str
    no_room_limit: str
    def __init__(self, through: _Optional[int] = ..., no_room: _Optional[str] = ..., no_room_limit: _Optional[str] = ...) -> None: ...

class Diverged(_message.Message):
    __slots__ = ("last_seq", "commit_seq", "runs")
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    last_seq: int
    commit_seq: int
    runs: _containers.RepeatedCompositeFieldContainer[TermRun]
    def __init__(self, last_seq: _Optional[int] = ..., commit_seq: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[TermRun, _Mapping]]] = ...) -> None: ...

class TermRun(_message.Message):
    __slots__ = ("term", "first_seq")
    TERM_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    term: int
    first_seq: int
    def __init__(self, term: _Optional[int] = ..., first_seq: _Optional[int] = ...) -> None: ...

class LogEndsRequest(_message.Message):
    __slots__ = ("shards",)
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[_worker_pb2.ShardRef]
    def __init__(self, shards: _Optional[_Iterable[_Union[_worker_pb2.ShardRef, _Mapping]]] = ...) -> None: ...

class LogEndsResponse(_message.Message):
    __slots__ = ("ends",)
    ENDS_FIELD_NUMBER: _ClassVar[int]
    ends: _containers.RepeatedCompositeFieldContainer[LogEnd]
    def __init__(self, ends: _Optional[_Iterable[_Union[LogEnd, _Mapping]]] = ...) -> None: ...

class LogEnd(_message.Message):
    __slots__ = ("replica", "term", "seq")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    replica: str
    term: int
    seq: int
    def __init__(self, replica: _Optional[str] = ..., term: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class BeginSnapshotRequest(_message.Message):
    __slots__ = ("shard", "replica", "move", "tuning")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    shard: _worker_pb2.ShardRef
    replica: str
    move: bool
    tuning: bool
    def __init__(self, shard: _Optional[_Union[_worker_pb2.ShardRef, _Mapping]] = ..., replica: _Optional[str] = ..., move: bool = ..., tuning: bool = ...) -> None: ...

class SnapshotManifest(_message.Message):
    __slots__ = ("snapshot", "term", "seq", "files", "memory_bytes")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    snapshot: str
    term: int
    seq: int
    files: _containers.RepeatedCompositeFieldContainer[SnapshotFile]
    memory_bytes: int
    def __init__(self, snapshot: _Optional[str] = ..., term: _Optional[int] = ..., seq: _Optional[int] = ..., files: _Optional[_Iterable[_Union[SnapshotFile, _Mapping]]] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class SnapshotFile(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class ReadSnapshotRequest(_message.Message):
    __slots__ = ("snapshot", "name", "offset", "max_bytes")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    snapshot: str
    name: str
    offset: int
    max_bytes: int
    def __init__(self, snapshot: _Optional[str] = ..., name: _Optional[str] = ..., offset: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class ReadSnapshotResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class EndSnapshotRequest(_message.Message):
    __slots__ = ("snapshot",)
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    snapshot: str
    def __init__(self, snapshot: _Optional[str] = ...) -> None: ...

class EndSnapshotResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
