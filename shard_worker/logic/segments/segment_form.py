"""Decide which index a sealed segment gets, and when its index is out of date.

Pure: rows and bytes in, an IndexSpec out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoal.core.errors import InvalidArgument
from shoal.core.index_spec import CODED_DIM, DEFAULT_LINKS, FLAT, Codec, IndexFamily, IndexSpec, parse_index, vector_bytes, waiting_reason
from shoal.core.metric import Metric
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
_CODED_GRAPH = IndexSpec(family=IndexFamily.HNSW, m=DEFAULT_LINKS, codec=Codec.SQ8)
_AUTOMATIC: dict[Saving, IndexSpec] = {
    "none": _GRAPH,
    "sq8": _CODED_GRAPH,
    "ivf": IndexSpec(family=IndexFamily.IVF, codec=Codec.RABITQ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedForm:
    """The form of a replica's sealed segments.

    spec: as in the collection; flat_rows: with an automatic index, smaller segments are searched exactly; saving: what
    an automatic index gives up; ef_construction: breadth of insertion into a graph; coded: whether bytes may be tried
    in automatic graphs for speed, although there is memory for the vectors.
    """

    dim: int
    metric: Metric
    spec: IndexSpec
    flat_rows: int = FLAT_ROWS
    saving: Saving = "none"
    ef_construction: int = 128
    coded: bool = True

    @property
    def tries_codes(self) -> bool:
        """Return whether a graph that is made anew is over bytes if a trial on its rows allows it (ADR 21)."""
        return self._has_choice and self.coded

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

    def keeps_vectors(self, label: str) -> bool:
        """Return whether an index called `label` is over vectors where one over bytes could be tried."""
        return self._has_choice and label == _GRAPH.text

    def dearest(self, spec: IndexSpec) -> IndexSpec:
        """Return the index that takes the most memory among those that a build which wants `spec` may make."""
        return _GRAPH if self.tries_codes and spec == _CODED_GRAPH else spec

    def fails(self, label: str, *, unable: bool) -> bool:
        """Return whether an index called `label` is over bytes and must be replaced by one over vectors.

        unable: whether it was found to miss the target of recall.
        """
        return self._has_choice and unable and label == _CODED_GRAPH.text

    def trained_rows(self, spec: IndexSpec, rows: int) -> int:
        """Return the rows for which an index made of `rows` rows counts as trained; 0: it need not be trained again.

        The bytes of an automatic graph are compared with the new rows instead, each time it is extended.
        """
        automatic = self.spec.family is IndexFamily.AUTO and spec == _CODED_GRAPH
        return rows if spec.trained and not automatic else 0

    def outdated(self, label: str, *, live: int, trained_rows: int, unable: bool = False) -> bool:
        """Return whether a segment with index `label` and `live` live rows should be built anew.

        Never True for an index that wanted(live) has just made. trained_rows: the rows its index was trained for, 0
        when its kind needs no training; unable: see `fails`.
        """
        if self.fails(label, unable=unable):
            return True
        if trained_rows and live > RETRAIN_RATIO * trained_rows:
            return True
        wanted = self.wanted(live)
        if wanted is FLAT and label != FLAT.text:
            # It has too few rows for its index now. The index stays, unless its kind is no longer wanted.
            return self.spec is FLAT or not self._fits(label, self._chosen)
        return not self._fits(label, wanted)

    @property
    def _has_choice(self) -> bool:
        """Return whether a graph may be over bytes or over vectors."""
        return self.spec.family is IndexFamily.AUTO and self.saving == "none" and self.dim >= CODED_DIM

    @property
    def _chosen(self) -> IndexSpec:
        if self.tries_codes:
            return _CODED_GRAPH
        return _AUTOMATIC[self.saving] if self.spec.family is IndexFamily.AUTO else self.spec

    def _fits(self, label: str, wanted: IndexSpec) -> bool:
        """Return whether an index called `label` is the wanted one. If the number of lists was left open, any number
        fits; if bytes may be tried, both kinds of graph do."""
        if label == wanted.text or (self._has_choice and label in (_GRAPH.text, _CODED_GRAPH.text)):
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
