"""What can happen to a replica, and what it can want done. Plain values; the performer carries them."""

from __future__ import annotations

from dataclasses import dataclass

from shard_worker.logic.record import Record, RecordKind
from shard_worker.logic.request_memory import Forgetting
from shoal.core.errors import ShoalError
from shoal.core.ids import RequestId, Revision, Seq, Term
from shoal.core.shard_config import ShardConfig

Ticket = int
"""Names one waiting caller."""


DISK_LIMIT = "disk"
"""ErrorDetails.limit of an error that says that the disk is full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigSeen:
    """The shard's configuration as last seen, and the current registration of this worker (0: it has none)."""

    config: ShardConfig
    epoch: Revision
    registration: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class TermStored:
    """A term was made durable."""

    term: Term


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteAsked:
    """A caller asks for a write. epoch: of the configuration it was sent by; now_ms: wall clock."""

    ticket: Ticket
    epoch: Revision
    request_id: RequestId
    kind: RecordKind
    body: bytes
    now_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerLeft:
    """A caller does not wait any more (its deadline passed); its write goes on."""

    ticket: Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsDurable:
    """Everything appended up to `through` is durable here."""

    through: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsApplied:
    """Committed records up to `through` are applied; affected: points per record, in order of seq."""

    through: Seq
    affected: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceChanged:
    """Whether there is room for more points; reason: in words when there is not."""

    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageBroke:
    """A write to the log or the store failed, or stored data proved damaged: this replica is over in this process."""

    error: ShoalError


ReplicaEvent = ConfigSeen | TermStored | WriteAsked | CallerLeft | RecordsDurable | RecordsApplied | SpaceChanged | StorageBroke


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreTerm:
    """Make a term durable, then say TermStored."""

    term: Term


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendRecords:
    """Append records to the log and make them durable, then say RecordsDurable."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyRecords:
    """Apply committed records to the store and the indexes, then say RecordsApplied."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetRequests:
    """Let go of remembered requests in the store, too."""

    forgetting: Forgetting


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledge:
    """Tell a caller that its write is committed and applied."""

    ticket: Ticket
    seq: Seq
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """Tell a caller why its write was not done, or may not have been."""

    ticket: Ticket
    error: ShoalError


ReplicaEffect = StoreTerm | AppendRecords | ApplyRecords | ForgetRequests | Acknowledge | Refuse
