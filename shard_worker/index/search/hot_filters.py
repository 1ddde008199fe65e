"""Cache of recent filters: the rows of a segment that match, their vectors once a filter is hot, and its history in the
index.

Bounded in bytes, together with the sketches of parts: the least recently used entries are dropped. Safe in several
threads: an entry is updated by one reference store, and work done twice does no harm.

A segment's rows and payloads never change under a key and a length, so the matching rows do not change either. Only
deaths change, and they are looked up for every view. Matches that were read from the store hold for rows that lived
when they were read. So they do not hold for an earlier view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.points import Matrix
from shoal.shard_worker.index.search.paces import Layout
from shoal.shard_worker.index.search.recent import Recent
from shoal.shard_worker.index.search.sketches import LARGEST_SHARE, Aside, Sketches, SketchSlot, at_once
from shoal.shard_worker.index.sketch import Sketch
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.filter_plan import FilterHistory
from shoal.shard_worker.text.eligible import Eligible
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.statistics import LivingRows

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ENTRY_BYTES = 600
_HOT_USES = 2

_LIVING = "\0living"
"""Name of the entry of the living rows of a part. No key of a filter begins so."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Among:
    """Matching rows as a view sees them.

    dead: dead rows of the part in that view; alive: (m,) which of the matching rows live, None for all; positions:
    (count,) int64 of the matching rows that live, ascending.
    """

    dead: int
    alive: Mask | None
    positions: Positions

    @property
    def count(self) -> int:
        """Return the number of rows that match and live."""
        return len(self.positions)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gathered:
    """Vectors (m, dim) of all matching rows in one block, and their squared lengths (m,)."""

    vectors: Matrix
    squares: npt.NDArray[np.float32]


class HotFilter:
    """The rows of one segment that match one filter.

    positions: (m,) int64 ascending, dead rows included; rows: length of the segment; estimate: share of rows that
    match, as estimated before any payload was read; verified_seq: views before this seq may not use this (0: no payload
    was read).
    """

    def __init__(self, *, positions: Positions, rows: int, estimate: float, verified_seq: int) -> None:
        self.positions = positions
        self.rows = rows
        self.estimate = estimate
        self.verified_seq = verified_seq
        self.uses = 1
        self.record = FilterHistory()
        self.gathered: Gathered | None = None
        self.sketch = SketchSlot()
        self._mask: Mask | None = None
        self._among: Among | None = None
        self._eligible: tuple[Among, Eligible] | None = None

    def holds_for(self, part: SegmentView, seq: int) -> bool:
        """Return whether this is valid for this part in a view at `seq`."""
        return self.rows == len(part) and seq >= self.verified_seq

    def among(self, part: SegmentView, seq: int) -> Among:
        """Return the matching rows that live at `seq`."""
        known = self._among
        if known is not None and known.dead == part.dead:
            return known
        # The number of deaths only grows. So two views with equally many dead rows in a segment have the same dead
        # rows.
        alive = part.deaths.take(self.positions) > seq if part.dead else None
        found = Among(dead=part.dead, alive=alive, positions=self.positions if alive is None else self.positions[alive])
        self._among = found
        return found

    def eligible(self, among: Among) -> Eligible:
        """Return rows that match and live, as `among` gave them, for searches of texts."""
        known = self._eligible
        if known is None or known[0] is not among:
            known = self._eligible = among, Eligible(self.rows, among=among.positions)
        return known[1]

    @property
    def bytes_of_eligible(self) -> int:
        """Return the memory of what `eligible` has returned last."""
        known = self._eligible
        return 0 if known is None else known[1].memory_bytes()

    @property
    def has_mask(self) -> bool:
        """Return whether `mask` has been computed before."""
        return self._mask is not None

    def mask(self) -> Mask:
        """Return which rows match, dead rows included. (rows,)."""
        known = self._mask
        if known is None:
            known = np.zeros(self.rows, dtype=bool)
            known[self.positions] = True
            self._mask = known
        return known

    @property
    def layout(self) -> Layout:
        """Return the layout in which a single query compares the matching rows."""
        if self.gathered is None:
            return Layout.SCATTERED
        return Layout.CONTIGUOUS if self.sketch.ready is None else Layout.PRUNED

    def memory_bytes(self) -> int:
        """Return the memory that this holds."""
        among, gathered, mask = self._among, self.gathered, self._mask
        held = self.positions.nbytes + _ENTRY_BYTES + self.sketch.memory_bytes
        if among is not None and among.alive is not None:
            held += among.alive.nbytes + among.positions.nbytes
        if gathered is not None:
            held += gathered.vectors.nbytes + gathered.squares.nbytes
        held += self.bytes_of_eligible
        return held + (0 if mask is None else mask.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class _KeptLiving:
    """Living rows of a part in all views in which so many of its rows are dead."""

    dead: int
    rows: LivingRows

    def memory_bytes(self) -> int:
        return _ENTRY_BYTES + self.rows.memory_bytes()


class HotFilters:
    """Matching rows of filters, and sketches of rows, in all segments of a worker, at most `limit_bytes`.

    sketches: of the rows of parts. aside: makes sketches.
    """

    def __init__(self, limit_bytes: int = 64 * 1024 * 1024, aside: Aside = at_once) -> None:
        self._recent = Recent[object](limit_bytes)
        self.sketches = Sketches(self._recent, aside)

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def memory_bytes(self) -> int:
        """Return the memory held, at most the limit."""
        return self._recent.memory_bytes

    def find(self, part: SegmentView, key: str, seq: int) -> HotFilter | None:
        """Return the entry of filter `key` on this part when it is valid for a view at `seq`, and count one more use of
        it."""
        entry = self.peek(part, key, seq)
        if entry is not None:
            self._recent.find(part.key, key)
            entry.uses += 1
        return entry

    def peek(self, part: SegmentView, key: str, seq: int) -> HotFilter | None:
        """Return the same as find, without counting a use."""
        entry = self._recent.peek(part.key, key)
        return entry if isinstance(entry, HotFilter) and entry.holds_for(part, seq) else None

    def keep(self, part: SegmentView, key: str, hot: HotFilter) -> None:
        """Store the entry, or update its size after it has grown. Drop other entries beyond the bound."""
        self._recent.keep(part.key, key, hot, hot.memory_bytes() + len(key))

    def living(self, part: SegmentView, texts: TextPart, seq: int) -> LivingRows:
        """Return which rows of a part live at `seq`, with what was counted of its texts. Kept until one more dies."""
        known = self._recent.find(part.key, _LIVING)
        if isinstance(known, _KeptLiving) and known.dead == part.dead and known.rows.part is texts:
            return known.rows
        rows = LivingRows(texts, part.deaths > seq if part.dead else None)
        kept = _KeptLiving(part.dead, rows)
        self._recent.keep(part.key, _LIVING, kept, kept.memory_bytes())
        return rows

    def counted(self, part: SegmentView) -> None:
        """Count the memory of what `living` gave, after it was used."""
        known = self._recent.peek(part.key, _LIVING)
        if isinstance(known, _KeptLiving):
            self._recent.update(part.key, _LIVING, known, known.memory_bytes())

    def may_gather(self, hot: HotFilter, dim: int) -> bool:
        """Return whether to keep the vectors of the matching rows: used often enough, and a bounded share of
        the limit."""
        return hot.uses >= _HOT_USES and len(hot.positions) * dim * 4 <= self._recent.limit_bytes * LARGEST_SHARE

    def gather(self, part: SegmentView, key: str, hot: HotFilter) -> Gathered:
        """Return the vectors of the matching rows. They are kept from now on."""
        known = hot.gathered
        if known is not None:
            return known
        gathered = Gathered(vectors=part.vectors.take(hot.positions, axis=0), squares=part.squares.take(hot.positions))
        hot.gathered = gathered
        self.keep(part, key, hot)
        return gathered

    def sketch(self, part: SegmentView, key: str, hot: HotFilter) -> Sketch | None:
        """Return the sketch of the gathered rows for a search by a single query; None while there is none."""
        if hot.gathered is None:
            return None

        def made() -> None:
            self._recent.update(part.key, key, hot, hot.memory_bytes() + len(key))

        return self.sketches.of_rows(part, hot.sketch, hot.gathered.vectors, made)

    def forget(self, keys: Iterable[int]) -> None:
        """Drop the entries of these segments: their rows are in other segments now."""
        self._recent.forget(keys)
