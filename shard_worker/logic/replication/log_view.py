"""A replica's log as the deciders see it: the terms of all kept records, the records in memory, the durable seq."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.append import LogSummary
from shoal.shard_worker.logic.replication.log_sizes import LogSizes
from shoal.shard_worker.logic.replication.record import Record

RECENT_BYTES = 4 * 1024 * 1024
"""Most bytes of applied records kept in memory for members that will need them soon."""


class LogView:
    """The log of one replica. Used by one thread.

    base: term and seq of the record before the first kept one. If two logs hold a record of the same term and seq, it
    is the same record, and all records before it are equal. The reasons: at most one replica appends in a term, and
    each append is checked to match.
    """

    def __init__(
        self,
        *,
        base: tuple[Term, Seq],
        runs: Iterable[tuple[Term, Seq]],
        last_seq: Seq,
        tail: Sequence[Record],
        stretches: Sequence[tuple[Seq, int]] = (),
    ) -> None:
        """tail: the last records, without a gap up to last_seq. All records are durable. stretches: see LogSizes."""
        self.base = base
        self._runs = _from_base(base, [(term, seq) for term, seq in sorted(runs) if seq <= last_seq])
        """(term, seq of its first record), ascending in both. A run ends where the next one begins."""
        self.last_seq = last_seq
        self.durable_seq = last_seq
        self._held: OrderedDict[Seq, Record] = OrderedDict((record.seq, record) for record in tail)
        self._applied = Seq(tail[0].seq - 1) if tail else last_seq
        self._recent_bytes = 0
        self._sizes = LogSizes(stretches, last_seq)

    @property
    def applied_seq(self) -> Seq:
        """Return the seq of the last record that is applied."""
        return self._applied

    def bytes_from(self, seq: Seq) -> int:
        """Return about how many bytes the records from `seq` to the end take, see LogSizes."""
        return self._sizes.bytes_from(seq)

    @property
    def last_term(self) -> Term:
        """Return the term of the last record."""
        return self._runs[-1][0] if self._runs else self.base[0]

    def term_at(self, seq: Seq) -> Term | None:
        """Return the term of the record at `seq`; None if unknown: after the end, or before the kept records."""
        if seq > self.last_seq or seq < self.base[1]:
            return None
        return next((term for term, first in reversed(self._runs) if first <= seq), self.base[0])

    def append(self, record: Record) -> None:
        """Add the next record; it is not durable yet."""
        assert record.seq == self.last_seq + 1, f"record {record.seq} does not follow {self.last_seq}"
        assert record.term >= self.last_term, f"term {record.term} follows {self.last_term}"
        if not self._runs or self._runs[-1][0] != record.term:
            self._runs.append((record.term, record.seq))
        self.last_seq = record.seq
        self._held[record.seq] = record
        self._sizes.append(record.seq, len(record.body))

    def truncate_after(self, seq: Seq) -> None:
        """Forget every record with a higher seq."""
        assert seq >= self.base[1], f"cannot cut after {seq}, the log begins after {self.base[1]}"
        for gone in range(seq + 1, self.last_seq + 1):
            self._held.pop(Seq(gone), None)
        self._runs = [(term, first) for term, first in self._runs if first <= seq]
        self._sizes.truncate_after(seq)
        self.last_seq = seq
        self.durable_seq = min(self.durable_seq, seq)

    def became_durable(self, term: Term, through: Seq) -> None:
        """Note that the record of this term and seq, and all before it, are on disk.

        Does nothing if that record was cut meanwhile.
        """
        if self.term_at(through) == term:
            self.durable_seq = max(self.durable_seq, through)

    def record(self, seq: Seq) -> Record:
        """Return a record that is not applied yet."""
        return self._held[seq]

    def held(self, from_seq: Seq, max_bytes: int) -> tuple[Record, ...]:
        """Return records from from_seq on that are in memory: at least one if possible, then as many as max_bytes
        allow.
        """
        found: list[Record] = []
        size = 0
        for seq in range(from_seq, self.last_seq + 1):
            record = self._held.get(Seq(seq))
            if record is None or (found and size + len(record.body) > max_bytes):
                break
            found.append(record)
            size += len(record.body)
        return tuple(found)

    def reaches(self, from_seq: Seq) -> bool:
        """Return whether the log, in memory or on disk, holds the record at from_seq and knows the term before it."""
        return self.base[1] < from_seq

    def applied(self, through: Seq, *, keep_recent: bool) -> None:
        """Note that records up to `through` are applied: keep a bounded number of them in memory, or none."""
        for seq in range(self._applied + 1, through + 1):
            record = self._held.get(Seq(seq))
            self._recent_bytes += 0 if record is None else len(record.body)
        self._applied = max(self._applied, through)
        bound = RECENT_BYTES if keep_recent else 0
        while self._held and (oldest := next(iter(self._held.values()))).seq <= self._applied:
            if keep_recent and self._recent_bytes <= bound:
                break
            del self._held[oldest.seq]
            self._recent_bytes -= len(oldest.body)

    def trimmed(self, base: tuple[Term, Seq]) -> None:
        """Note that the log on disk now begins after `base`."""
        self.base = base
        self._runs = _from_base(base, self._runs)
        self._sizes.trimmed(base[1])

    def summary(self, commit_seq: Seq) -> LogSummary:
        """Return the summary with which another replica finds where the two logs differ."""
        return LogSummary(last_seq=self.last_seq, commit_seq=commit_seq, runs=tuple(self._runs))

    def agrees_until(self, other: LogSummary) -> Seq:
        """Return the last seq up to which this log, a primary's, and the other one are certainly equal.

        This log holds everything that the other one has committed, so the result is never less than that.
        """
        if not other.runs:
            return other.commit_seq
        ends = [first - 1 for _, first in other.runs[1:]] + [other.last_seq]
        for (term, first), end in zip(reversed(other.runs), reversed(ends), strict=True):
            mine = self._span(term)
            if mine is not None and min(mine[1], end) >= max(mine[0], first):
                return Seq(max(min(mine[1], end), other.commit_seq))
        return other.commit_seq

    def _span(self, term: Term) -> tuple[int, int] | None:
        """Return the first and last seq of the records of a term; None if there are none."""
        for at, (each, first) in enumerate(self._runs):
            if each == term:
                following = self._runs[at + 1 :]
                return first, following[0][1] - 1 if following else self.last_seq
        return None


def _from_base(base: tuple[Term, Seq], runs: Sequence[tuple[Term, Seq]]) -> list[tuple[Term, Seq]]:
    """Return the runs without those that end before the base.

    The base is also part of a run: its term helps to find where two logs differ.
    """
    if base[1] == 0:
        return list(runs)
    over = [run for run in runs if run[1] <= base[1]]
    return [over[-1] if over else base, *(run for run in runs if run[1] > base[1] and run[0] != base[0])]
