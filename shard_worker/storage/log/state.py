"""An open log as one value: its files, how far each is good, where it ends. Readers take it whole, so it never changes
under them.

Owns what each step of the writer makes of it; touches no file.
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
    """One file of an open log. size_bytes: up to its last record; places: known borders in it."""

    file: LogFile
    size_bytes: int
    places: Places


@dataclass(frozen=True, kw_only=True, slots=True)
class LogState:
    """parts: at least one; term_starts: for each term of which records are kept, its first kept record, in order; cuts:
    how often the end was cut, so that a reader of an earlier value can tell a cut from damage."""

    parts: tuple[LogPart, ...]
    end: ChainEnd
    term_starts: Mapping[Term, Seq]
    cuts: int = 0

    @property
    def base(self) -> ChainEnd:
        """End of the chain before the first kept record."""
        return self.parts[0].file.before

    @property
    def last_part_is_empty(self) -> bool:
        """Whether the file that is written to holds no record."""
        return self.end.seq < self.parts[-1].file.first_seq

    def appended(self, records: Sequence[Record], last_crc: int, group_bytes: int) -> LogState:
        """With a group of records, at least one, in the last file."""
        last = records[-1]
        end = ChainEnd(term=last.term, seq=last.seq, crc=last_crc)
        part = dataclasses.replace(self.parts[-1], size_bytes=self.parts[-1].size_bytes + group_bytes)
        part.places.note(RecordBorder(end=end, offset=part.size_bytes))
        starts = self.term_starts
        if last.term not in starts:
            starts = dict(sorted({**{record.term: record.seq for record in reversed(records)}, **starts}.items()))
        return dataclasses.replace(self, parts=(*self.parts[:-1], part), end=end, term_starts=starts)

    def rolled(self, file: LogFile) -> LogState:
        """With one more file, without records."""
        return dataclasses.replace(self, parts=(*self.parts, new_part(file)))

    def trimmed(self, through_seq: Seq) -> LogState:
        """Without the files whose records all have seq <= through_seq, the last one excepted."""
        going = sum(following.file.before.seq <= through_seq for following in self.parts[1:])
        if not going:
            return self
        kept = self.parts[going:]
        return dataclasses.replace(self, parts=kept, term_starts=self._starts_from(kept[0].file.first_seq))

    def _starts_from(self, first_seq: Seq) -> dict[Term, Seq]:
        """The table without what lies before `first_seq`.

        Of the terms that begin before it, only the last one can have records from there on, and it has none when a cut
        has left the files from there on empty.
        """
        early = [term for term, seq in self.term_starts.items() if seq < first_seq]
        kept = {term: seq for term, seq in self.term_starts.items() if seq >= first_seq}
        reaches = bool(early) and first_seq not in kept.values() and first_seq <= self.end.seq
        return {early[-1]: first_seq, **kept} if reaches else kept

    def part_before(self, seq: Seq) -> int:
        """Index of the last part that begins at or before the end of the record `seq`: what a cut behind it leaves as
        the last one.
        """
        return max(at for at, part in enumerate(self.parts) if part.file.before.seq <= seq)

    def truncated(self, place: RecordBorder) -> LogState:
        """Without what lies behind `place`, which is in the part that `part_before` names."""
        at, seq = self.part_before(place.end.seq), place.end.seq
        part = self.parts[at]
        part = dataclasses.replace(part, size_bytes=place.offset, places=part.places.through(part.file, seq))
        starts = {term: first for term, first in self.term_starts.items() if first <= seq}
        return LogState(parts=(*self.parts[:at], part), end=place.end, term_starts=starts, cuts=self.cuts + 1)

    def parts_with(self, from_seq: Seq) -> list[tuple[LogPart, Seq]]:
        """The parts that hold records from `from_seq` on, each with the seq of its last record."""
        lasts = [following.file.before.seq for following in self.parts[1:]] + [self.end.seq]
        return [(part, last) for part, last in zip(self.parts, lasts, strict=True) if last >= max(from_seq, part.file.first_seq)]


def new_part(file: LogFile) -> LogPart:
    """A file without records."""
    return LogPart(file=file, size_bytes=file.header_bytes, places=Places(file))


def new_state(file: LogFile) -> LogState:
    """A log of one file without records."""
    return LogState(parts=(new_part(file),), end=file.before, term_starts={})
