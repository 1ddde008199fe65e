"""The sketches of sets of rows that are compared exactly again and again: whole parts, and the rows of hot filters.

Owns when one is made and when it is given up. They are made beside searches, never by a thread that searches; until
then, searches compare all rows. Their memory counts in the cache of filtered searches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shoal.core.points import Matrix
from shoal.shard_worker.index.search.recent import Recent
from shoal.shard_worker.index.sketch import Axes, Sketch
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.bound_gain import RESTED_SEARCHES, WIDTH, may_pay

Chore = Callable[[Callable[[], bool]], None]
"""Work beside searches. It ends as soon as its argument, which it calls every 20 ms or so, returns True."""

Aside = Callable[[Chore], bool]
"""Takes a chore, to be done later in a thread of low priority. Returns whether it was taken."""

WHOLE_PART = ""
"""Name of the entry of a part itself, beside those of filters, whose keys are never empty."""

LARGEST_SHARE = 0.5
"""One entry may take at most this share of the cache."""

_SEARCHES = 8
"""A set of rows gets a sketch after this many searches of single queries."""

_SEARCHES_BESIDE_INDEX = 256
"""The same for a part with an index. Usually its exact searches end soon, when its recall was measured."""

_TAIL_ROWS = 512
"""A sketch is extended when a growing part has this many rows more."""


def at_once(chore: Chore) -> bool:
    """Do the chore in the calling thread."""
    chore(bool)
    return True


@dataclass(frozen=True, slots=True)
class Counting:
    """There is no sketch. searches: of the `needed` after which one is made."""

    searches: int
    needed: int


@dataclass(frozen=True, slots=True)
class Making:
    """One is being made."""


MAKING = Making()


class SketchSlot:
    """Holds the sketch of one set of rows, or says why there is none. Any thread may use it.

    The state is replaced by one reference store. A lost count, or a sketch that is made twice, does no harm.
    """

    __slots__ = ("_first", "state")

    def __init__(self, searches: int = _SEARCHES) -> None:
        self._first = searches
        self.state: Counting | Making | Sketch = Counting(0, searches)

    @property
    def ready(self) -> Sketch | None:
        """Return the sketch if there is one."""
        state = self.state
        return state if isinstance(state, Sketch) else None

    @property
    def memory_bytes(self) -> int:
        """Return the memory that the sketch holds."""
        state = self.state
        return state.memory_bytes if isinstance(state, Sketch) else 0

    def searched(self) -> bool:
        """Count a search without a sketch, or give up a sketch that does not pay. Return whether to make one now."""
        state = self.state
        if isinstance(state, Sketch):
            if not state.gain.pays:
                self.state = Counting(0, RESTED_SEARCHES)
            return False
        if isinstance(state, Making):
            return False
        if state.searches + 1 < state.needed:
            self.state = Counting(state.searches + 1, state.needed)
            return False
        self.state = MAKING
        return True

    def made(self, sketch: Sketch | None) -> None:
        """Take the sketch; None where none can be made."""
        self.state = Counting(0, RESTED_SEARCHES) if sketch is None else sketch

    def not_made(self) -> None:
        """Note that nobody makes it now: it is wanted again after some searches."""
        self.state = Counting(0, self._first)


class PartSketch:
    """What is known of one part. axes: of its rows, once found; whole: for all of its rows."""

    __slots__ = ("axes", "extending", "whole")

    def __init__(self, part: SegmentView) -> None:
        self.axes: Axes | None = None
        self.whole = SketchSlot(_SEARCHES if part.native is None else _SEARCHES_BESIDE_INDEX)
        self.extending = False

    def memory_bytes(self) -> int:
        """Return the memory that it holds."""
        return (0 if self.axes is None else self.axes.memory_bytes) + self.whole.memory_bytes + _ENTRY_BYTES


_ENTRY_BYTES = 600


class Sketches:
    """Sketches of the parts and hot filters in one cache. aside: makes them."""

    def __init__(self, recent: Recent[object], aside: Aside = at_once) -> None:
        self._recent, self._aside = recent, aside

    def of(self, part: SegmentView) -> Sketch | None:
        """Return the sketch for a search of all rows of a part by a single query; None while there is none."""
        rows, dim = len(part), part.vectors.shape[1]
        if not may_pay(rows=rows, dim=dim) or rows * WIDTH * 4 > self._recent.limit_bytes * LARGEST_SHARE:
            return None
        entry = self._entry(part)
        if entry.whole.searched():
            self._make(part, entry, entry.whole, part.vectors, lambda: self._count(part, entry))
        ready = entry.whole.ready
        if ready is None:
            return None
        tail = rows - len(ready)
        if tail > _TAIL_ROWS and not entry.extending:
            self._extend(part, entry, ready)
        return ready if tail <= len(ready) // 2 else None

    def peek(self, part: SegmentView) -> Sketch | None:
        """Return the same as `of` without counting a search."""
        entry = self._recent.peek(part.key, WHOLE_PART)
        return entry.whole.ready if isinstance(entry, PartSketch) else None

    def of_rows(self, part: SegmentView, slot: SketchSlot, vectors: Matrix, made: Callable[[], None]) -> Sketch | None:
        """Return the sketch for a search of some rows of a part by a single query, as `of` does.

        vectors: (m, dim) of these rows, always the same; made: called when the slot has a sketch, to count its memory.
        """
        if not may_pay(rows=len(vectors), dim=vectors.shape[1]):
            return None
        if slot.searched():
            self._make(part, self._entry(part), slot, vectors, made)
        return slot.ready

    def _entry(self, part: SegmentView) -> PartSketch:
        known = self._recent.find(part.key, WHOLE_PART)
        if isinstance(known, PartSketch):
            return known
        entry = PartSketch(part)
        self._recent.keep(part.key, WHOLE_PART, entry, entry.memory_bytes())
        return entry

    def _count(self, part: SegmentView, entry: PartSketch) -> None:
        """Count the memory of a part's entry. It may have been dropped meanwhile, with its part."""
        self._recent.update(part.key, WHOLE_PART, entry, entry.memory_bytes())

    def _make(self, part: SegmentView, entry: PartSketch, slot: SketchSlot, vectors: Matrix, made: Callable[[], None]) -> None:
        def chore(stopped: Callable[[], bool]) -> None:
            try:
                if entry.axes is None:
                    entry.axes = Axes.of(part.vectors)
                    self._count(part, entry)
                slot.made(None if entry.axes is None else Sketch.of(entry.axes, vectors, lambda: stopped() or self._gone(part)))
            except BaseException:
                slot.not_made()
                raise
            made()

        if not self._aside(chore):
            slot.not_made()

    def _extend(self, part: SegmentView, entry: PartSketch, ready: Sketch) -> None:
        def chore(stopped: Callable[[], bool]) -> None:
            try:
                longer = ready.extended(part.vectors, lambda: stopped() or self._gone(part))
                if longer is not None and entry.whole.state is ready:
                    entry.whole.made(longer)
                    self._count(part, entry)
            finally:
                entry.extending = False

        entry.extending = True
        if not self._aside(chore):
            entry.extending = False

    def _gone(self, part: SegmentView) -> bool:
        """Return whether the part's entry was dropped: the part is gone, or there is no room for it."""
        return self._recent.peek(part.key, WHOLE_PART) is None
