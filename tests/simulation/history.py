"""The calls of clients and their answers, checked at once against the committed log: acknowledged writes, and reads of
each consistency.

A read shows the shard at the seq that its replica had applied, so it is compared with the committed log at that seq. A
primary read is linearizable if this seq is not below any write acknowledged, nor any primary read ended, before it
began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from shoal.core.ids import RequestId
from shoal.core.shard_calls import WriteAck
from tests.simulation.committed import CommittedLog
from tests.simulation.replica import Found
from tests.simulation.violation import Violation


class History:
    """Counts and checks. primary_floor: the seq that a primary read beginning now must at least show."""

    def __init__(self, committed: CommittedLog) -> None:
        self._committed = committed
        self.acknowledged: dict[RequestId, WriteAck] = {}
        self.open_ended: set[RequestId] = set()
        self.refused: set[RequestId] = set()
        self.reads = {"any": 0, "session": 0, "primary": 0}
        self.primary_floor = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def note(self, *facts: Hashable) -> None:
        """Add facts to the history's hash."""
        self._digest.update(repr(facts).encode())

    def digest(self) -> str:
        """Return the hash of all noted facts."""
        return self._digest.hexdigest()

    def acked(self, request: RequestId, ack: WriteAck) -> None:
        """Note that a write was acknowledged to a client."""
        self.note("ack", request.client, request.number, ack.seq)
        at = self._committed.by_request.get(request)
        if at != ack.seq:
            raise Violation("acknowledged is committed", f"{request} was acknowledged at {ack.seq}, it is committed at {at}")
        if ack.affected != self._committed.affected[request]:
            raise Violation("an answer tells what was done", f"{request} affected {ack.affected} points")
        self.acknowledged[request] = ack
        self.primary_floor = max(self.primary_floor, ack.seq)

    def not_acked(self, request: RequestId, applied: str) -> None:
        """Note that a client received that its write was not done ("no"), or may have been done ("maybe")."""
        self.note("not", request.client, request.number, applied)
        (self.refused if applied == "no" else self.open_ended).add(request)

    def read_ended(self, kind: str, key: str, found: Found, floor: int) -> None:
        """Check the answer to a read. floor: the seq that it must at least show, fixed when it began."""
        self.note("read", kind, key, found.seq, found.applied)
        self.reads[kind] += 1
        if found.applied > self._committed.last_seq:
            raise Violation("inv 6: a reader sees committed records", f"a read shows {found.applied}, committed is less")
        seq, value = self._committed.at(key, found.applied)
        if (found.value, found.seq) != (value, seq if value is not None else 0):
            raise Violation("inv 6: a reader sees the shard as of one seq", f"{key} at {found.applied}: {found}, it was {value} by {seq}")
        if found.applied < floor:
            what = "a primary read sees every write acknowledged before it" if kind == "primary" else "a session reads its writes"
            raise Violation(f"inv 6: {what}", f"a {kind} read of {key} shows {found.applied}, {floor} was acknowledged before it began")
        if kind == "primary":
            self.primary_floor = max(self.primary_floor, found.applied)

    def check_end(self) -> None:
        """Check at the end: writes answered with "no" were not applied, and acknowledged writes are in the log."""
        for request in self.refused:
            if request in self._committed.by_request:
                raise Violation("an answer tells what was done", f"{request} was refused and is committed")
        for request, ack in self.acknowledged.items():
            if self._committed.by_request.get(request) != ack.seq:
                raise Violation("no acknowledged write is lost", f"{request} at {ack.seq}")
