"""What a search sees: an immutable view of all segments at one sequence number, and the hits found in it.

Owns the rule of visibility. Needs no locks: the one writer appends behind the rows that a view can see, writes deaths
in place with sequence numbers beyond those of older views, and then publishes a new view by one reference store.

A row of a part is visible in a view when `deaths[row] > seq`. The sequence number of the record that made the row is
not needed: rows are appended in the order of their records, so the rows made up to `seq` are exactly the rows in the
part's arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray, Matrix
from shoal.core.topk import concat_ids
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.row_codes import RowCodes
from shoal.shard_worker.index.ties import Ties
from shoal.shard_worker.index.tuning import TuningSlot
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.payload.matched import PayloadPart
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.part import TextPart

ALIVE = np.iinfo(np.int64).max
"""Death of a row that lives."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentView:
    """One segment as a view sees it: n rows, in columns.

    key: of the segment, never reused for another; name: of a sealed segment's files, "" of others; index: canonical
    spelling of its index, "flat" where search is exact; vectors: (n, dim) prepared, in memory or mapped from a file;
    squares: (n,) float32 squared lengths of the vectors; ids: (n,); rows: (n,) int64 row numbers of the store; deaths:
    (n,) int64, written in place by the writer; dead: number of rows whose death is at or below the view's seq; reach:
    largest length of a vector; native: the FAISS index over exactly these rows, None where search is exact; payloads:
    index over the rows' payloads; texts: index over their texts, with those fields of the view that are ready here,
    None if none is; codes: bytes beside the vectors of a growing segment, None where they would save nothing; tuning:
    what is known of the recall of `native`; ties: what is known of rows that tie.
    """

    key: int
    state: SegmentState
    name: str = ""
    index: str = "flat"
    vectors: Matrix
    squares: npt.NDArray[np.float32]
    ids: IdArray
    rows: npt.NDArray[np.int64]
    deaths: npt.NDArray[np.int64]
    dead: int
    reach: float
    native: NativeIndex | None
    payloads: PayloadPart
    texts: TextPart | None = None
    codes: RowCodes | None = None
    tuning: TuningSlot
    ties: Ties = field(default_factory=Ties)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def live(self) -> int:
        """Return the number of rows that the view sees."""
        return len(self.rows) - self.dead


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IndexView:
    """All segments at sequence number `seq`: together they hold every point that lived then exactly once.

    texts: the text fields that are wanted, None without any; plans: what searches have worked out about this view,
    under keys of their own. It lives as long as the view.
    """

    seq: int
    parts: tuple[SegmentView, ...]
    texts: FieldTexts | None = None
    plans: dict[Any, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """Return the number of points that the view sees."""
        return sum(part.live for part in self.parts)

    def texts_ready(self, names: Iterable[str]) -> tuple[int, int]:
        """Return how many parts have an index of all these text fields, and how many parts there are.

        Unless both are equal, a search of these fields would miss rows: the index is still being made.
        """
        wanted = set(names)
        ready = sum(1 for part in self.parts if not wanted or (part.texts is not None and wanted <= part.texts.fields.keys()))
        return ready, len(self.parts)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PartHits:
    """Hits from one or several parts, in no order. query: (hits,) int64 number of the query; the other columns as in
    IndexHits."""

    query: npt.NDArray[np.int64]
    ids: IdArray
    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, places: npt.NDArray[np.int64]) -> PartHits:
        """Return the hits at `places` (m,)."""
        columns = (self.ids.take(places), self.scores.take(places), self.rows.take(places))
        return PartHits(query=self.query.take(places), ids=columns[0], scores=columns[1], rows=columns[2])

    def of(self, queries: npt.NDArray[np.int64]) -> PartHits:
        """Return the same hits, with query number i renumbered to queries[i]."""
        return PartHits(query=queries.take(self.query), ids=self.ids, scores=self.scores, rows=self.rows)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IndexHits:
    """Hits of a batch, flat: those of query 0 first, best first within a query.

    counts: (nq,) int64, hits per query; ids: (hits,); scores: (hits,) float32; rows: (hits,) int64 row numbers of the
    store.
    """

    counts: npt.NDArray[np.int64]
    ids: IdArray
    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


NO_HITS = PartHits(
    query=np.empty(0, dtype=np.int64),
    ids=np.empty(0, dtype=np.int64),
    scores=np.empty(0, dtype=np.float32),
    rows=np.empty(0, dtype=np.int64),
)


def join_hits(parts: Sequence[PartHits]) -> PartHits:
    """Return all hits of `parts`."""
    if not parts:
        return NO_HITS
    if len(parts) == 1:
        return parts[0]
    return PartHits(
        query=np.concatenate([part.query for part in parts]),
        ids=concat_ids([part.ids for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
    )
