"""The true history of a shard: the records in the order of their commit, and the value of each key at each seq."""

from __future__ import annotations

import json
from bisect import bisect_right

from shoal.core.filter_truth import matches
from shoal.core.ids import RequestId
from shoal.core.point_change import VectorChange
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.wire.records import update_of_body
from tests.simulation.violation import Violation
from tests.twins.point_changes import payload_after


class CommittedLog:
    """Only grows. A record is added when a primary's commit point passes it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.by_request: dict[RequestId, int] = {}
        self.affected: dict[RequestId, int] = {}
        """Points that each request wrote, changed or removed."""
        self._keys: dict[str, tuple[list[int], list[str | None]]] = {}

    @property
    def last_seq(self) -> int:
        """Return the seq of the last committed record."""
        return len(self.records)

    @property
    def last_term(self) -> int:
        """Return the term of the last committed record, 0 for none."""
        return self.records[-1].term if self.records else 0

    def commit(self, record: Record, by: str) -> bool:
        """Note that a primary counts a record as committed.

        Returns whether the record is new. Raises Violation if another record was committed at its seq.
        """
        if record.seq <= len(self.records):
            self.check_same(record, by)
            return False
        if record.seq != len(self.records) + 1:
            raise Violation("inv 1: committed in order", f"{by} commits {record.seq} after {len(self.records)}")
        self.records.append(record)
        if record.request_id is not None:
            self._take_request(record, record.request_id)
        return True

    def check_same(self, record: Record, by: str) -> None:
        """Raise Violation unless `record` is the committed record of its seq."""
        known = self.records[record.seq - 1]
        if (known.term, known.request_id) != (record.term, record.request_id):
            raise Violation("no committed record is lost", f"{by} has {_story(record)} where {_story(known)} was committed")

    def check_committed(self, record: Record, by: str) -> None:
        """Raise Violation unless the record is committed."""
        if record.seq > len(self.records):
            raise Violation("inv 6: only committed records are applied", f"{by} applies {_story(record)}, committed is {len(self.records)}")
        self.check_same(record, by)

    def at(self, key: str, seq: int) -> tuple[int, str | None]:
        """Return the seq of the last write of a key up to `seq`, and its value then; (0, None) before any write."""
        seqs, values = self._keys.get(key, ([], []))
        place = bisect_right(seqs, seq) - 1
        return (seqs[place], values[place]) if place >= 0 else (0, None)

    def points(self) -> dict[str, tuple[int, str]]:
        """Return the points that exist after all committed records."""
        found = {key: (seqs[-1], values[-1]) for key, (seqs, values) in self._keys.items()}
        return {key: (seq, value) for key, (seq, value) in found.items() if value is not None}

    def _take_request(self, record: Record, request: RequestId) -> None:
        twice = self.by_request.setdefault(request, record.seq)
        if twice != record.seq:
            raise Violation("no write is applied twice", f"{request} is committed at {twice} and at {record.seq}")
        after = self._after(record)
        there = sum(self.at(key, record.seq)[1] is not None for key in after)
        self.affected[request] = there if record.kind is RecordKind.DELETE else len(after)
        for key, value in after.items():
            seqs, values = self._keys.setdefault(key, ([], []))
            seqs.append(record.seq)
            values.append(value)

    def _after(self, record: Record) -> dict[str, str | None]:
        """Return the value of each key that the record writes, changes or removes."""
        if record.kind is not RecordKind.UPDATE:
            name, _, written = record.body.decode().partition("=")
            return {name: written if record.kind is RecordKind.UPSERT else None}
        update = update_of_body(record.body)
        assert not isinstance(update.change, VectorChange), "points have no vectors here"
        after: dict[str, str | None] = {}
        for key in update.ids.tolist():
            before = self.at(key, record.seq)[1]
            if before is not None and (update.filter is None or matches(update.filter, json.loads(before), key)):
                after[key] = payload_after(before.encode(), update.change).decode()
        return after


def _story(record: Record) -> str:
    return f"({record.term}, {record.seq}) {record.kind.name} {record.request_id or ''}"
