from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeClusterResponse(_message.Message):
    __slots__ = ("cluster_id", "leader", "workers", "shards", "insecure", "certificate_not_after")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    leader: str
    workers: _containers.RepeatedCompositeFieldContainer[WorkerInfo]
    shards: _containers.RepeatedCompositeFieldContainer[ShardInfo]
    insecure: bool
    certificate_not_after: int
    def __init__(self, cluster_id: _Optional[str] = ..., leader: _Optional[str] = ..., workers: _Optional[_Iterable[_Union[WorkerInfo, _Mapping]]] = ..., shards: _Optional[_Iterable[_Union[ShardInfo, _Mapping]]] = ..., insecure: bool = ..., certificate_not_after: _Optional[int] = ...) -> None: ...

class WorkerInfo(_message.Message):
    __slots__ = ("id", "address", "pid", "node", "zone", "state", "memory_bytes", "disk", "memory_budget_bytes", "memory_used_bytes", "file_limit", "files_open")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILES_OPEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    pid: int
    node: str
    zone: str
    state: str
    memory_bytes: int
    disk: str
    memory_budget_bytes: int
    memory_used_bytes: int
    file_limit: int
    files_open: int
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ..., pid: _Optional[int] = ..., node: _Optional[str] = ..., zone: _Optional[str] = ..., state: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., disk: _Optional[str] = ..., memory_budget_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., file_limit: _Optional[int] = ..., files_open: _Optional[int] = ...) -> None: ...

class ShardInfo(_message.Message):
    __slots__ = ("collection", "shard", "term", "primary", "isr", "learners", "state", "detail", "memory_bytes", "replication", "elr", "leaving", "rf", "min_isr", "replicas")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FIELD_NUMBER: _ClassVar[int]
    ELR_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    RF_FIELD_NUMBER: _ClassVar[int]
    MIN_ISR_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    shard: int
    term: int
    primary: str
    isr: _containers.RepeatedScalarFieldContainer[str]
    learners: _containers.RepeatedScalarFieldContainer[str]
    state: str
    detail: str
    memory_bytes: int
    replication: str
    elr: _containers.RepeatedScalarFieldContainer[str]
    leaving: _containers.RepeatedScalarFieldContainer[str]
    rf: int
    min_isr: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaInfo]
    def __init__(self, collection: _Optional[str] = ..., shard: _Optional[int] = ..., term: _Optional[int] = ..., primary: _Optional[str] = ..., isr: _Optional[_Iterable[str]] = ..., learners: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., detail: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., replication: _Optional[str] = ..., elr: _Optional[_Iterable[str]] = ..., leaving: _Optional[_Iterable[str]] = ..., rf: _Optional[int] = ..., min_isr: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaInfo, _Mapping]]] = ...) -> None: ...

class ReplicaInfo(_message.Message):
    __slots__ = ("id", "worker", "role", "state", "applied_seq")
    ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    id: str
    worker: str
    role: str
    state: str
    applied_seq: int
    def __init__(self, id: _Optional[str] = ..., worker: _Optional[str] = ..., role: _Optional[str] = ..., state: _Optional[str] = ..., applied_seq: _Optional[int] = ...) -> None: ...
