"""An open log as one immutable value: its files, the valid bytes of each, and its end.

Owns the transitions that the writer makes; touches no file. A reader takes the value once, so it never changes during a
read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.storage.log.file import ChainEnd, LogFile
from shoal.shard_worker.storage.log.places import Places, RecordBorder


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """One file of an open log. size_bytes: up to the end of its last record; places: known borders in it."""

    file: LogFile
    size_bytes: int
    places: Places


@dataclass(frozen=True, kw_only=True, slots=True)
class LogState:
    """An open log.

    parts: at least one. term_starts: for each term that has kept records, the seq of its first one, in order. cuts: how
    often the end was cut; a reader with an older value compares it to distinguish a cut from damage.
    """

    parts: tuple[LogPart, ...]
    end: ChainEnd
    term_starts: Mapping[Term, Seq]
    cuts: int = 0

    @property
    def base(self) -> ChainEnd:
        """Return the end of the chain before the first kept record."""
        return self.parts[0].file.before

    @property
    def last_part_is_empty(self) -> bool:
        """Return whether the active file holds no record."""
        return self.end.seq < self.parts[-1].file.first_seq

    def appended(self, records: Sequence[Record], last_crc: int, group_bytes: int) -> LogState:
        """Return the log with a group of at least one record added to the last file."""
        last = records[-1]
        end = ChainEnd(term=last.term, seq=last.seq, crc=last_crc)
        part = dataclasses.replace(self.parts[-1], size_bytes=self.parts[-1].size_bytes + group_bytes)
        part.places.note(RecordBorder(end=end, offset=part.size_bytes))
        starts = self.term_starts
        if last.term not in starts:
            starts = dict(sorted({**{record.term: record.seq for record in reversed(records)}, **starts}.items()))
        return dataclasses.replace(self, parts=(*self.parts[:-1], part), end=end, term_starts=starts)

    def rolled(self, file: LogFile) -> LogState:
        """Return the log with one more file, which holds no records."""
        return dataclasses.replace(self, parts=(*self.parts, new_part(file)))

    def trimmed(self, through_seq: Seq) -> LogState:
        """Return the log without the files whose records all have seq <= through_seq; the last file always stays."""
        going = sum(following.file.before.seq <= through_seq for following in self.parts[1:])
        if not going:
            return self
        kept = self.parts[going:]
        return dataclasses.replace(self, parts=kept, term_starts=self._starts_from(kept[0].file.first_seq))

    def _starts_from(self, first_seq: Seq) -> dict[Term, Seq]:
        """Return term_starts without the terms that have no record from `first_seq` on.

        Of the terms that begin before `first_seq`, only the last one can reach it. It does not if a cut has left the
        files from there on empty.
        """
        early = [term for term, seq in self.term_starts.items() if seq < first_seq]
        kept = {term: seq for term, seq in self.term_starts.items() if seq >= first_seq}
        reaches = bool(early) and first_seq not in kept.values() and first_seq <= self.end.seq
        return {early[-1]: first_seq, **kept} if reaches else kept

    def part_before(self, seq: Seq) -> int:
        """Return the index of the last part that begins at or before the end of the record `seq`.

        A cut after that record leaves this part as the last one.
        """
        return max(at for at, part in enumerate(self.parts) if part.file.before.seq <= seq)

    def truncated(self, place: RecordBorder) -> LogState:
        """Return the log without everything after `place`, which lies in the part that `part_before` returns."""
        at, seq = self.part_before(place.end.seq), place.end.seq
        part = self.parts[at]
        part = dataclasses.replace(part, size_bytes=place.offset, places=part.places.through(part.file, seq))
        starts = {term: first for term, first in self.term_starts.items() if first <= seq}
        return LogState(parts=(*self.parts[:at], part), end=place.end, term_starts=starts, cuts=self.cuts + 1)

    def parts_with(self, from_seq: Seq) -> list[tuple[LogPart, Seq]]:
        """Return the parts that hold records from `from_seq` on, each with the seq of its last record."""
        lasts = [following.file.before.seq for following in self.parts[1:]] + [self.end.seq]
        return [(part, last) for part, last in zip(self.parts, lasts, strict=True) if last >= max(from_seq, part.file.first_seq)]


def new_part(file: LogFile) -> LogPart:
    """Return a part without records."""
    return LogPart(file=file, size_bytes=file.header_bytes, places=Places(file))


def new_state(file: LogFile) -> LogState:
    """Return a log of one file without records."""
    return LogState(parts=(new_part(file),), end=file.before, term_starts={})
