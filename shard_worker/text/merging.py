"""Merge tables of one field by the new rows of their rows, without sorting a posting, in bounded memory.

The rows of one source lie before those of the next, and keep their order. So each list of rows of the result is the
lists of the sources one after the other, renumbered, without the rows that are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.shard_worker.text.table import NO_ROWS, Lengths, Rows, TextTable, TokenPositions, assembled
from shoal.shard_worker.text.vocabulary import Vocabulary, starts_of
from shoal.shard_worker.text.word_order import chosen, united
from shoal.shard_worker.text.word_ranges import Cut, cuts_of, range_bytes

MERGE_BYTES = 24 * 1024 * 1024
"""What the arrays of one step of a merge take at most, by estimate."""

GONE = 2**32 - 1
"""New row of a row that is left out."""

Counted = npt.NDArray[np.int64]
_Kind = type[np.unsignedinteger[Any]]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MergeSource:
    """A table, whose row r becomes row mapping[r], or is left out (GONE). mapping: (n,); None: row r becomes first + r.

    rows: number of its rows that are kept. They become first, first + 1, ... in order.
    """

    table: TextTable
    first: int
    rows: int
    mapping: Rows | None

    @classmethod
    def whole(cls, table: TextTable, first: int) -> MergeSource:
        """Return the table with all its rows."""
        return cls(table=table, first=first, rows=len(table), mapping=None)

    @classmethod
    def some(cls, table: TextTable, first: int, positions: npt.NDArray[np.int64]) -> MergeSource:
        """Return the table with its rows at `positions` (m,) only. Raises Internal unless they ascend within it."""
        if len(positions) and not (positions[0] >= 0 and positions[-1] < len(table) and (positions[1:] > positions[:-1]).all()):
            raise Internal(f"{len(positions)} rows of a text index of {len(table)} are not ascending rows of it")
        if len(positions) == len(table):
            return cls.whole(table, first)
        mapping: Rows = np.full(len(table), GONE, dtype=np.uint32)
        mapping[positions] = np.arange(first, first + len(positions), dtype=np.uint32)
        return cls(table=table, first=first, rows=len(positions), mapping=mapping)

    def lengths(self) -> Lengths:
        """Return the lengths of the rows that are kept."""
        return self.table.lengths if self.mapping is None else self.table.lengths[self.mapping != GONE]


class MergedPostings(NamedTuple):
    """What follows in the result: postings with their positions, then words that end with them.

    words: ascending; row_counts, token_counts, most, shortest: (w,) of each word, see TextTable. The postings of one
    large word come in several of these, of which the last one has the word.
    """

    words: Vocabulary
    row_counts: Counted
    token_counts: Counted
    most: npt.NDArray[np.uint16]
    shortest: npt.NDArray[np.uint32]
    rows: Rows
    counts: npt.NDArray[np.uint16]
    positions: TokenPositions


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedSize:
    """Numbers of rows, words, their bytes, postings, token positions, bytes of each of these; sums of a TextTable."""

    rows: int
    words: int
    word_bytes: int
    postings: int
    positions: int
    position_bytes: int
    tokens: int
    filled: int


class TableMerge:
    """The merge of tables of one field."""

    def __init__(self, sources: Sequence[MergeSource], most_bytes: int = MERGE_BYTES) -> None:
        self._sources = tuple(sources)
        self._most_bytes = most_bytes
        self._tables = [source.table for source in self._sources]
        self._cuts: list[Cut] = cuts_of(self._tables, most_bytes)
        self._kind: _Kind = np.uint32 if any(table.positions.dtype == np.uint32 for table in self._tables) else np.uint16

    def lengths(self) -> Iterator[Lengths]:
        """Yield the lengths of all rows, in order."""
        for source in self._sources:
            yield source.lengths()

    def size(self) -> MergedSize:
        """Return the size of the result. Counts what is kept; merges nothing."""
        words = word_bytes = postings = positions = tokens = filled = 0
        for lengths in self.lengths():
            tokens += int(lengths.sum(dtype=np.int64))
            filled += int(np.count_nonzero(lengths))
        for start, end in pairwise(self._cuts):
            counted = [_counted(source, *span, self._most_bytes) for source, span in self._spans(start, end)]
            united = set().union(*(found.words for found in counted))
            words += len(united)
            word_bytes += sum(map(len, united))
            postings += sum(int(found.row_counts.sum()) for found in counted)
            positions += sum(int(found.token_counts.sum()) for found in counted)
        return MergedSize(
            rows=sum(source.rows for source in self._sources),
            words=words,
            word_bytes=word_bytes,
            postings=postings,
            positions=positions,
            position_bytes=np.dtype(self._kind).itemsize,
            tokens=tokens,
            filled=filled,
        )

    def postings(self) -> Iterator[MergedPostings]:
        """Yield everything but the lengths, in the order of the words."""
        for start, end in pairwise(self._cuts):
            spans = self._spans(start, end)
            if range_bytes(self._tables, start, end) > self._most_bytes and all(last - first == 1 for _, (first, last) in spans):
                yield from _large_word(spans, self._most_bytes, self._kind)
            elif spans:
                yield _united([_held(source, *span) for source, span in spans], self._kind)

    def _spans(self, start: Cut, end: Cut) -> list[tuple[MergeSource, tuple[int, int]]]:
        """Return the sources with words between two cuts, and the codes of these words."""
        spans = zip(self._sources, zip(start, end, strict=True), strict=True)
        return [(source, span) for source, span in spans if span[1] > span[0]]


def merged_table(sources: Sequence[MergeSource]) -> TextTable:
    """Return the merge as a table in memory."""
    merge = TableMerge(sources)
    pieces = [NOTHING_MERGED, *merge.postings()]
    return assembled(
        lengths=np.concatenate([np.empty(0, dtype=np.uint32), *merge.lengths()]),
        words=Vocabulary.joined([piece.words for piece in pieces]),
        row_counts=np.concatenate([piece.row_counts for piece in pieces]),
        rows=np.concatenate([piece.rows for piece in pieces]),
        counts=np.concatenate([piece.counts for piece in pieces]),
        positions=np.concatenate([piece.positions for piece in pieces]),
    )


NOTHING_MERGED = MergedPostings(
    words=Vocabulary.of([]),
    row_counts=np.empty(0, dtype=np.int64),
    token_counts=np.empty(0, dtype=np.int64),
    most=np.empty(0, dtype=np.uint16),
    shortest=np.empty(0, dtype=np.uint32),
    rows=NO_ROWS,
    counts=np.empty(0, dtype=np.uint16),
    positions=np.empty(0, dtype=np.uint16),
)


class _Counted(NamedTuple):
    """Words of one source of which rows are kept, and the numbers of their postings and token positions."""

    words: list[bytes]
    row_counts: Counted
    token_counts: Counted


class _Moved(NamedTuple):
    """Postings of one source that are kept: new rows, counts and lengths (p,), token positions. alive: (all postings,)
    which are kept; None: all."""

    rows: Rows
    counts: npt.NDArray[np.uint16]
    lengths: Lengths
    positions: TokenPositions
    alive: npt.NDArray[np.bool_] | None


def _moved(source: MergeSource, start: int, end: int, first: int, last: int) -> _Moved:
    """Return the postings start:end, whose token positions are first:last."""
    table = source.table
    old, counts, positions = table.rows[start:end], table.counts[start:end], table.positions[first:last]
    lengths = table.lengths.take(old)
    if source.mapping is None:
        return _Moved(old + np.uint32(source.first), counts, lengths, positions, None)
    rows = source.mapping.take(old)
    alive = rows != GONE
    if alive.all():
        return _Moved(rows, counts, lengths, positions, None)
    return _Moved(rows[alive], counts[alive], lengths[alive], positions[np.repeat(alive, counts)], alive)


def _counted(source: MergeSource, first: int, last: int, most_bytes: int) -> _Counted:
    """Count what is kept of the words first:last."""
    table = source.table
    words = table.words.between(first, last)
    row_counts, token_counts = np.diff(table.starts[first : last + 1]), np.diff(table.position_starts[first : last + 1])
    if source.mapping is None:
        return _Counted(words, row_counts, token_counts)
    kept = source.mapping != GONE
    begins = table.starts[first : last + 1]
    row_counts, token_counts = np.zeros(last - first, dtype=np.int64), np.zeros(last - first, dtype=np.int64)
    step = max(1, most_bytes // 64)
    for start in range(int(begins[0]), int(begins[-1]), step):
        end = min(start + step, int(begins[-1]))
        alive = np.flatnonzero(kept.take(table.rows[start:end]))
        word = begins.searchsorted(start + alive, "right") - 1
        row_counts += np.bincount(word, minlength=last - first)
        token_counts += np.bincount(word, weights=table.counts[start:end].take(alive), minlength=last - first).astype(np.int64)
    return _Counted([word for word, count in zip(words, row_counts.tolist(), strict=True) if count], row_counts, token_counts)


class _Held(NamedTuple):
    """Words of one source of which rows are kept, with their postings."""

    words: Vocabulary
    row_counts: Counted
    token_counts: Counted
    moved: _Moved


def _held(source: MergeSource, first: int, last: int) -> _Held:
    """Return what is kept of the words first:last."""
    table = source.table
    begins, places = table.starts[first : last + 1], table.position_starts[first : last + 1]
    words, row_counts, token_counts = table.words.part(first, last), np.diff(begins), np.diff(places)
    moved = _moved(source, int(begins[0]), int(begins[-1]), int(places[0]), int(places[-1]))
    if moved.alive is None:
        return _Held(words, row_counts, token_counts, moved)
    word = np.repeat(np.arange(last - first), row_counts)[moved.alive]
    row_counts = np.bincount(word, minlength=last - first)
    token_counts = np.bincount(word, weights=moved.counts, minlength=last - first).astype(np.int64)
    used = np.flatnonzero(row_counts)
    return _Held(chosen(words, used), row_counts[used], token_counts[used], moved)


def _united(held: Sequence[_Held], kind: _Kind) -> MergedPostings:
    """Return the words of all sources, each with its postings in the order of the sources."""
    if len(held) == 1:
        words, ranks = held[0].words, [np.arange(len(held[0].words))]
    else:
        words, ranks = united([found.words for found in held])
    if not len(words):
        return NOTHING_MERGED
    row_counts, token_counts = np.zeros(len(words), dtype=np.int64), np.zeros(len(words), dtype=np.int64)
    shortest = np.full(len(words), GONE, dtype=np.uint32)
    for found, at in zip(held, ranks, strict=True):
        row_counts[at] += found.row_counts
        token_counts[at] += found.token_counts
        if len(at):
            own = starts_of(found.row_counts)[:-1]
            shortest[at] = np.minimum(shortest[at], np.minimum.reduceat(found.moved.lengths, own))
    starts = starts_of(row_counts)
    places = _places([found.row_counts for found in held], ranks, starts[:-1])
    rows = _placed([found.moved.rows for found in held], places, np.uint32)
    counts = _placed([found.moved.counts for found in held], places, np.uint16)
    places = _places([found.token_counts for found in held], ranks, starts_of(token_counts)[:-1])
    positions: TokenPositions = _placed([found.moved.positions for found in held], places, kind)
    return MergedPostings(words, row_counts, token_counts, np.maximum.reduceat(counts, starts[:-1]), shortest, rows, counts, positions)


def _places(counts: Sequence[Counted], ranks: Sequence[Counted], starts: Counted) -> list[Counted]:
    """Return where the elements of each source go: (m,) for its m elements.

    counts: for each source, elements of each of its words; ranks: of these words in the result; starts: where the
    elements of each word of the result begin.
    """
    free, places = starts.copy(), []
    for count, at in zip(counts, ranks, strict=True):
        before = starts_of(count)
        places.append(np.arange(before[-1]) + np.repeat(free[at] - before[:-1], count))
        free[at] += count
    return places


def _placed(pieces: Sequence[npt.NDArray[Scalar]], places: Sequence[Counted], kind: type[Scalar]) -> npt.NDArray[Scalar]:
    """Return one array of all elements, each at its place."""
    placed: npt.NDArray[Scalar] = np.empty(sum(map(len, pieces)), dtype=kind)
    for piece, place in zip(pieces, places, strict=True):
        placed[place] = piece
    return placed


def _large_word(spans: Sequence[tuple[MergeSource, tuple[int, int]]], most_bytes: int, kind: _Kind) -> Iterator[MergedPostings]:
    """Yield the postings of one word in pieces of at most `most_bytes`, and then the word."""
    step = max(1, most_bytes // 128)
    rows = tokens = most = 0
    shortest = GONE
    for source, (code, _) in spans:
        table = source.table
        start, end = table.bounds(code)
        place = int(table.position_starts[code])
        while start < end:
            spent = np.cumsum(table.counts[start : min(start + step, end)], dtype=np.int64)
            taken = max(1, int(spent.searchsorted(step, "right")))
            moved = _moved(source, start, start + taken, place, place + int(spent[taken - 1]))
            start, place = start + taken, place + int(spent[taken - 1])
            if len(moved.rows):
                rows, tokens = rows + len(moved.rows), tokens + len(moved.positions)
                most, shortest = max(most, int(moved.counts.max())), min(shortest, int(moved.lengths.min()))
                positions = moved.positions.astype(kind, copy=False)
                yield NOTHING_MERGED._replace(rows=moved.rows, counts=moved.counts, positions=positions)
    if rows:
        source, (code, _) = spans[0]
        yield NOTHING_MERGED._replace(
            words=source.table.words.part(code, code + 1),
            row_counts=np.array([rows]),
            token_counts=np.array([tokens]),
            most=np.array([most], dtype=np.uint16),
            shortest=np.array([shortest], dtype=np.uint32),
        )
