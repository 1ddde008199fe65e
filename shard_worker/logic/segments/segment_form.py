"""Decide which index a sealed segment gets, and when its index is out of date.

Pure: rows and bytes in, an IndexSpec out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoal.core.collection import Metric
from shoal.core.errors import InvalidArgument
from shoal.core.index_spec import DEFAULT_LINKS, FLAT, Codec, IndexFamily, IndexSpec, parse_index, vector_bytes, waiting_reason
from shoal.core.sizing import merge_bytes

Saving = Literal["none", "sq8", "ivf"]
"""What an automatic index gives up to save memory.

none: nothing; sq8: the graph keeps one byte a dimension; ivf: no graph, and one bit a dimension.
"""

FLAT_ROWS = 4_000
"""About this many rows: fewer are compared faster than a graph over them is searched."""

RETRAIN_RATIO = 4
"""Lists and codes are trained anew when there are more than this many times the rows they were trained for.

Twice the lists are needed then.
"""

_GRAPH = IndexSpec(family=IndexFamily.HNSW, m=DEFAULT_LINKS)
_SAVINGS: tuple[Saving, ...] = ("none", "sq8", "ivf")
_AUTOMATIC: dict[Saving, IndexSpec] = {
    "none": _GRAPH,
    "sq8": IndexSpec(family=IndexFamily.HNSW, m=DEFAULT_LINKS, codec=Codec.SQ8),
    "ivf": IndexSpec(family=IndexFamily.IVF, codec=Codec.RABITQ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedForm:
    """The form of a replica's sealed segments.

    spec: as in the collection; flat_rows: with an automatic index, smaller segments are searched exactly; saving: what
    an automatic index gives up; ef_construction: breadth of insertion into a graph.
    """

    dim: int
    metric: Metric
    spec: IndexSpec
    flat_rows: int = FLAT_ROWS
    saving: Saving = "none"
    ef_construction: int = 128

    def wanted(self, rows: int) -> IndexSpec:
        """Return the index of a segment of `rows` rows, all numbers filled in; flat when it has too few rows for the
        chosen one."""
        if self.spec.family is IndexFamily.AUTO and rows < self.flat_rows:
            return FLAT
        chosen = self._chosen
        return FLAT if waiting_reason(chosen, rows) else chosen.for_rows(rows)

    def waiting_reason(self, rows: int) -> str:
        """Return why a segment of `rows` rows is searched exactly although an index was chosen, as a text; else ""."""
        return "" if self.spec.family is IndexFamily.AUTO else waiting_reason(self._chosen, rows)

    def outdated(self, label: str, *, live: int, trained_rows: int) -> bool:
        """Return whether a segment with index `label` and `live` live rows should be built anew.

        Never True for an index that wanted(live) has just made. trained_rows: the rows its index was trained for, 0
        when its kind needs no training.
        """
        if trained_rows and live > RETRAIN_RATIO * trained_rows:
            return True
        wanted = self.wanted(live)
        if wanted is FLAT and label != FLAT.text:
            # It has too few rows for its index now. The index stays, unless its kind is no longer wanted.
            return self.spec is FLAT or not self._fits(label, self._chosen)
        return not self._fits(label, wanted)

    @property
    def _chosen(self) -> IndexSpec:
        return _AUTOMATIC[self.saving] if self.spec.family is IndexFamily.AUTO else self.spec

    def _fits(self, label: str, wanted: IndexSpec) -> bool:
        """Return whether an index called `label` is the wanted one. If the number of lists was left open, any number
        fits."""
        if label == wanted.text:
            return True
        if self._chosen.nlist or wanted.family is not IndexFamily.IVF:
            return False
        try:
            held = parse_index(label, self.dim)
        except InvalidArgument:
            return False
        return (held.family, held.codec, held.pq_m, held.pq_bits) == (wanted.family, wanted.codec, wanted.pq_m, wanted.pq_bits)


def saving_for(rows: int, dim: int, room_bytes: int, before: Saving) -> Saving:
    """Return what an automatic index over `rows` rows gives up to fit into room_bytes of memory, its merges included.

    The least saving with room for half as many rows more, so that it changes before writes are refused. It is less than
    `before` only with room for three times the rows, so that it does not change back and forth. The most when nothing
    fits.
    """
    least, easily = _least(rows * 3 // 2, dim, room_bytes), _least(rows * 3, dim, room_bytes)
    if _SAVINGS.index(least) >= _SAVINGS.index(before):
        return least
    return easily if _SAVINGS.index(easily) < _SAVINGS.index(before) else before


def _least(rows: int, dim: int, room_bytes: int) -> Saving:
    def fits(saving: Saving) -> bool:
        spec = _AUTOMATIC[saving]
        return vector_bytes(spec, dim, rows) + merge_bytes(spec, dim, rows) <= room_bytes

    return next((saving for saving in _SAVINGS if fits(saving)), "ivf")
