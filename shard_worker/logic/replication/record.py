"""A log record: the unit that is appended, made durable, replicated, committed and applied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from shoal.core.ids import RequestId, Seq, Term


class RecordKind(IntEnum):
    """The effect of a record when it is applied. Values are part of the log format."""

    NOOP = 1
    UPSERT = 2
    DELETE = 3
    DELETE_ROWS = 4
    UPDATE = 5

    @property
    def writes_points(self) -> bool:
        """Return whether its points need room: an update writes them anew, as an upsert does."""
        return self in (RecordKind.UPSERT, RecordKind.UPDATE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One entry of a shard's log.

    time_ms: wall clock of the primary when it made the record; request ids expire by it, so that all replicas agree;
    request_id: of the client's write, None for a no-op; body: opaque here, see shoal.wire.records.
    """

    term: Term
    seq: Seq
    kind: RecordKind
    time_ms: int
    request_id: RequestId | None
    body: bytes
