from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlanRebalanceRequest(_message.Message):
    __slots__ = ("undo",)
    UNDO_FIELD_NUMBER: _ClassVar[int]
    undo: str
    def __init__(self, undo: _Optional[str] = ...) -> None: ...

class PlanRebalanceResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: RebalancePlan
    def __init__(self, plan: _Optional[_Union[RebalancePlan, _Mapping]] = ...) -> None: ...

class RebalancePlan(_message.Message):
    __slots__ = ("id", "kind", "subject", "cluster_id", "revision", "fingerprint", "tolerance", "replicas", "workers", "moves", "hand_overs", "bytes", "least_bytes", "seconds", "pinned", "left")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    HAND_OVERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LEAST_BYTES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    subject: str
    cluster_id: str
    revision: int
    fingerprint: str
    tolerance: float
    replicas: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerBalance]
    moves: _containers.RepeatedCompositeFieldContainer[PlannedMove]
    hand_overs: _containers.RepeatedCompositeFieldContainer[PlannedHandOver]
    bytes: int
    least_bytes: int
    seconds: float
    pinned: _containers.RepeatedCompositeFieldContainer[PinnedShard]
    left: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., cluster_id: _Optional[str] = ..., revision: _Optional[int] = ..., fingerprint: _Optional[str] = ..., tolerance: _Optional[float] = ..., replicas: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerBalance, _Mapping]]] = ..., moves: _Optional[_Iterable[_Union[PlannedMove, _Mapping]]] = ..., hand_overs: _Optional[_Iterable[_Union[PlannedHandOver, _Mapping]]] = ..., bytes: _Optional[int] = ..., least_bytes: _Optional[int] = ..., seconds: _Optional[float] = ..., pinned: _Optional[_Iterable[_Union[PinnedShard, _Mapping]]] = ..., left: _Optional[_Iterable[str]] = ...) -> None: ...

class WorkerBalance(_message.Message):
    __slots__ = ("worker", "zone", "capacity_bytes", "bytes", "target_bytes", "after_bytes", "primaries", "primaries_after", "in_bytes", "out_bytes", "draining")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TARGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    PRIMARIES_FIELD_NUMBER: _ClassVar[int]
    PRIMARIES_AFTER_FIELD_NUMBER: _ClassVar[int]
    IN_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    worker: str
    zone: str
    capacity_bytes: int
    bytes: int
    target_bytes: int
    after_bytes: int
    primaries: int
    primaries_after: int
    in_bytes: int
    out_bytes: int
    draining: bool
    def __init__(self, worker: _Optional[str] = ..., zone: _Optional[str] = ..., capacity_bytes: _Optional[int] = ..., bytes: _Optional[int] = ..., target_bytes: _Optional[int] = ..., after_bytes: _Optional[int] = ..., primaries: _Optional[int] = ..., primaries_after: _Optional[int] = ..., in_bytes: _Optional[int] = ..., out_bytes: _Optional[int] = ..., draining: bool = ...) -> None: ...

class PlannedMove(_message.Message):
    __slots__ = ("number", "collection", "collection_id", "shard", "source", "target", "memory_bytes", "disk_bytes", "why")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    number: int
    collection: str
    collection_id: str
    shard: int
    source: str
    target: str
    memory_bytes: int
    disk_bytes: int
    why: str
    def __init__(self, number: _Optional[int] = ..., collection: _Optional[str] = ..., collection_id: _Optional[str] = ..., shard: _Optional[int] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class PlannedHandOver(_message.Message):
    __slots__ = ("number", "collection", "collection_id", "shard", "source", "target")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    number: int
    collection: str
    collection_id: str
    shard: int
    source: str
    target: str
    def __init__(self, number: _Optional[int] = ..., collection: _Optional[str] = ..., collection_id: _Optional[str] = ..., shard: _Optional[int] = ..., source: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class PinnedShard(_message.Message):
    __slots__ = ("collection", "collection_id", "shard", "why")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    collection_id: str
    shard: int
    why: str
    def __init__(self, collection: _Optional[str] = ..., collection_id: _Optional[str] = ..., shard: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class ApplyRebalanceRequest(_message.Message):
    __slots__ = ("plan_id", "plan", "asked_by", "request_id")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    plan: RebalancePlan
    asked_by: str
    request_id: str
    def __init__(self, plan_id: _Optional[str] = ..., plan: _Optional[_Union[RebalancePlan, _Mapping]] = ..., asked_by: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DescribeRebalanceRequest(_message.Message):
    __slots__ = ("plan_id",)
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    def __init__(self, plan_id: _Optional[str] = ...) -> None: ...

class ControlRebalanceRequest(_message.Message):
    __slots__ = ("action", "plan_id", "asked_by")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    action: str
    plan_id: str
    asked_by: str
    def __init__(self, action: _Optional[str] = ..., plan_id: _Optional[str] = ..., asked_by: _Optional[str] = ...) -> None: ...

class RebalanceProgress(_message.Message):
    __slots__ = ("plan", "state", "asked_by", "started_ms", "ended_ms", "items", "longest_wait_s")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WAIT_S_FIELD_NUMBER: _ClassVar[int]
    plan: RebalancePlan
    state: str
    asked_by: str
    started_ms: int
    ended_ms: int
    items: _containers.RepeatedCompositeFieldContainer[ItemProgress]
    longest_wait_s: float
    def __init__(self, plan: _Optional[_Union[RebalancePlan, _Mapping]] = ..., state: _Optional[str] = ..., asked_by: _Optional[str] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., items: _Optional[_Iterable[_Union[ItemProgress, _Mapping]]] = ..., longest_wait_s: _Optional[float] = ...) -> None: ...

class ItemProgress(_message.Message):
    __slots__ = ("number", "state", "done_bytes", "total_bytes", "bytes_per_s", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    state: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    reason: str
    def __init__(self, number: _Optional[int] = ..., state: _Optional[str] = ..., done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., bytes_per_s: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class SetBalanceRequest(_message.Message):
    __slots__ = ("auto", "tolerance", "moves_at_once", "move_bytes_per_s", "asked_by")
    AUTO_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MOVES_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    MOVE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    auto: bool
    tolerance: float
    moves_at_once: int
    move_bytes_per_s: int
    asked_by: str
    def __init__(self, auto: bool = ..., tolerance: _Optional[float] = ..., moves_at_once: _Optional[int] = ..., move_bytes_per_s: _Optional[int] = ..., asked_by: _Optional[str] = ...) -> None: ...

class BalanceSettings(_message.Message):
    __slots__ = ("auto", "tolerance", "moves_at_once", "move_bytes_per_s")
    AUTO_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MOVES_AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    MOVE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    auto: bool
    tolerance: float
    moves_at_once: int
    move_bytes_per_s: int
    def __init__(self, auto: bool = ..., tolerance: _Optional[float] = ..., moves_at_once: _Optional[int] = ..., move_bytes_per_s: _Optional[int] = ...) -> None: ...

class ListRebalancesRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListRebalancesResponse(_message.Message):
    __slots__ = ("plans",)
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[PlanSummary]
    def __init__(self, plans: _Optional[_Iterable[_Union[PlanSummary, _Mapping]]] = ...) -> None: ...

class PlanSummary(_message.Message):
    __slots__ = ("id", "kind", "subject", "state", "asked_by", "started_ms", "ended_ms", "items", "done", "failed", "skipped", "bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    subject: str
    state: str
    asked_by: str
    started_ms: int
    ended_ms: int
    items: int
    done: int
    failed: int
    skipped: int
    bytes: int
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., state: _Optional[str] = ..., asked_by: _Optional[str] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., items: _Optional[int] = ..., done: _Optional[int] = ..., failed: _Optional[int] = ..., skipped: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("workers", "balance")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStanding]
    balance: BalanceSettings
    def __init__(self, workers: _Optional[_Iterable[_Union[WorkerStanding, _Mapping]]] = ..., balance: _Optional[_Union[BalanceSettings, _Mapping]] = ...) -> None: ...

class WorkerStanding(_message.Message):
    __slots__ = ("worker", "state", "zone", "drain", "replicas", "primaries", "left", "memory_bytes", "disk_bytes", "memory_budget_bytes", "started_ms", "down_s", "replaced_in_s")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PRIMARIES_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    DOWN_S_FIELD_NUMBER: _ClassVar[int]
    REPLACED_IN_S_FIELD_NUMBER: _ClassVar[int]
    worker: str
    state: str
    zone: str
    drain: WorkerDrain
    replicas: int
    primaries: int
    left: int
    memory_bytes: int
    disk_bytes: int
    memory_budget_bytes: int
    started_ms: int
    down_s: float
    replaced_in_s: float
    def __init__(self, worker: _Optional[str] = ..., state: _Optional[str] = ..., zone: _Optional[str] = ..., drain: _Optional[_Union[WorkerDrain, _Mapping]] = ..., replicas: _Optional[int] = ..., primaries: _Optional[int] = ..., left: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., memory_budget_bytes: _Optional[int] = ..., started_ms: _Optional[int] = ..., down_s: _Optional[float] = ..., replaced_in_s: _Optional[float] = ...) -> None: ...

class WorkerDrain(_message.Message):
    __slots__ = ("primaries_only", "asked_by", "since_ms")
    PRIMARIES_ONLY_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    primaries_only: bool
    asked_by: str
    since_ms: int
    def __init__(self, primaries_only: bool = ..., asked_by: _Optional[str] = ..., since_ms: _Optional[int] = ...) -> None: ...

class DrainWorkerRequest(_message.Message):
    __slots__ = ("worker", "primaries_only", "asked_by")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PRIMARIES_ONLY_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    worker: str
    primaries_only: bool
    asked_by: str
    def __init__(self, worker: _Optional[str] = ..., primaries_only: bool = ..., asked_by: _Optional[str] = ...) -> None: ...

class UndrainWorkerRequest(_message.Message):
    __slots__ = ("worker", "asked_by")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    worker: str
    asked_by: str
    def __init__(self, worker: _Optional[str] = ..., asked_by: _Optional[str] = ...) -> None: ...

class ForgetWorkerRequest(_message.Message):
    __slots__ = ("worker", "confirmed", "asked_by")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    worker: str
    confirmed: bool
    asked_by: str
    def __init__(self, worker: _Optional[str] = ..., confirmed: bool = ..., asked_by: _Optional[str] = ...) -> None: ...

class ForgetWorkerResponse(_message.Message):
    __slots__ = ("done", "worker", "down_s", "copies")
    DONE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    DOWN_S_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    done: bool
    worker: str
    down_s: float
    copies: int
    def __init__(self, done: bool = ..., worker: _Optional[str] = ..., down_s: _Optional[float] = ..., copies: _Optional[int] = ...) -> None: ...
