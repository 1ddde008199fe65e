"""The events and effects of a replica, as plain values.

The performer reports the events and carries out the effects.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ShoalError
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, Term
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, NoRoom
from shoal.shard_worker.logic.replication.leadership import ReadLog, SendAppend, SwapConfig, SwapOutcome
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Forgetting

Ticket = int
"""Number of one waiting caller."""


DISK_LIMIT = "disk"
"""ErrorDetails.limit of an error that says that the disk is full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigSeen:
    """The shard's configuration as last seen. registration: the worker's current one, 0 for none."""

    config: ShardConfig
    epoch: Revision
    registration: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class LeadNoMore:
    """The replica is to lead no more in this term: another one is about to be made primary, after this event."""

    term: Term


@dataclass(frozen=True, kw_only=True, slots=True)
class TermStored:
    """A term was made durable."""

    term: Term


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteAsked:
    """A caller asks for a write. now_ms: wall clock."""

    ticket: Ticket
    request_id: RequestId
    kind: RecordKind
    body: bytes
    now_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerLeft:
    """A caller no longer waits, since its deadline passed. Its write goes on."""

    ticket: Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsDurable:
    """The record of this term and seq, and all records before it, are durable here."""

    term: Term
    through: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsApplied:
    """Committed records up to `through` are applied; affected: points per record, in order of seq."""

    through: Seq
    affected: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceChanged:
    """There is room for more points (no_room is None), or there is none."""

    no_room: NoRoom | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageBroke:
    """A write to the log or the store failed, or stored data is damaged. The replica has failed in this process."""

    error: ShoalError


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendAsked:
    """The primary of some term sent records or a heartbeat."""

    ticket: Ticket
    append: Append


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerAnswered:
    """A member answered the append with this serial."""

    peer: ReplicaId
    serial: int
    answer: AppendAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerSilent:
    """The append with this serial was not answered; it may have arrived.

    gone: the worker of the member is not registered any more.
    """

    peer: ReplicaId
    serial: int
    gone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRead:
    """Records were read from the log for a member; none if they are trimmed."""

    peer: ReplicaId
    from_seq: Seq
    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogTrimmed:
    """The log on disk now begins after the record of this term and seq."""

    term: Term
    seq: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapEnded:
    """The swap of the configuration on epoch `base` has ended. revision: the new epoch if it is DONE, else 0."""

    base: Revision
    outcome: SwapOutcome
    revision: Revision = Revision(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotRefused:
    """There was no room on this worker's disk for a snapshot of the replica."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """Time has passed. now_ms: of a clock that never goes back. About every 100 ms while the replica leads members."""

    now_ms: int


ReplicaEvent = (
    ConfigSeen
    | LeadNoMore
    | TermStored
    | WriteAsked
    | CallerLeft
    | RecordsDurable
    | RecordsApplied
    | SpaceChanged
    | StorageBroke
    | AppendAsked
    | PeerAnswered
    | PeerSilent
    | LogRead
    | LogTrimmed
    | SwapEnded
    | SnapshotRefused
    | Tick
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreTerm:
    """Make a term durable, then report TermStored."""

    term: Term


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendRecords:
    """Append records to the log and make them durable, then report RecordsDurable."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyRecords:
    """Apply committed records to the store and the indexes, then report RecordsApplied."""

    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetRequests:
    """Remove remembered requests from the store."""

    forgetting: Forgetting


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledge:
    """Answer a caller that its write is committed and applied."""

    ticket: Ticket
    seq: Seq
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """Answer a caller why its write was not done, or may not have been done."""

    ticket: Ticket
    error: ShoalError


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncateLog:
    """Cut every record with a higher seq from the log, in order with AppendRecords. They were never committed."""

    after: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerAppend:
    """Answer the primary that sent an append."""

    ticket: Ticket
    answer: AppendAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class RefuseAppend:
    """Answer the primary that this replica cannot take appends."""

    ticket: Ticket
    error: ShoalError


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchSnapshot:
    """Fetch a snapshot of the primary: its log no longer holds records that this replica lacks."""

    primary: ReplicaId


ReplicaEffect = (
    StoreTerm
    | AppendRecords
    | TruncateLog
    | ApplyRecords
    | ForgetRequests
    | Acknowledge
    | Refuse
    | AnswerAppend
    | RefuseAppend
    | FetchSnapshot
    | SendAppend
    | ReadLog
    | SwapConfig
)
