"""A sealed segment for checks: what its files hold, whether or not the rows live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.lookup import Positions, Rows
from shoal.shard_worker.index.sealed import PAYLOAD_SUFFIX, SealedSegment
from shoal.shard_worker.payload.matched import PayloadBounds, PayloadPart
from shoal.shard_worker.payload.sealed import SealedPayloads


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InspectedSegment:
    """A segment of n rows.

    rows: (n,) int64 row numbers of the store; vectors: (n, dim) prepared; payloads: the index over the rows' payloads,
    None when the segment has none; metrics: the metrics that the files may be of, at least one.
    """

    segment: SealedSegment
    rows: Rows
    vectors: Matrix
    payloads: PayloadPart | None
    metrics: tuple[Metric, ...]

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """Return (found, positions): which of `rows` (m,) are in it, as a mask (m,), and where these are
        (found.sum(),)."""
        return self.segment.find(rows)


def inspect_segment(paths: Mapping[str, Path], dim: int) -> InspectedSegment:
    """Load the segment from files, by suffix, whose hashes the caller has verified.

    Raises DataLoss when a file is missing or unreadable, or when the files do not belong together; OSError when a file
    cannot be opened.
    """
    segment, metrics = _load(paths, dim)
    part = segment.part()
    return InspectedSegment(
        segment=segment,
        rows=part.rows,
        vectors=part.vectors,
        payloads=part.payloads if PAYLOAD_SUFFIX in paths else None,
        metrics=metrics,
    )


def _load(paths: Mapping[str, Path], dim: int) -> tuple[SealedSegment, tuple[Metric, ...]]:
    """Load the segment, and return the metrics that it may be of.

    A file records whether it compares by distance or by inner product. IP and COSINE both use the inner product; only
    the vectors show which of the two it is.
    """
    try:
        return _load_as(paths, dim, Metric.L2), (Metric.L2,)
    except DataLoss:
        return _load_as(paths, dim, Metric.IP), (Metric.IP, Metric.COSINE)


def _load_as(paths: Mapping[str, Path], dim: int, metric: Metric) -> SealedSegment:
    nothing = np.empty(0, dtype=np.int64)
    return SealedSegment.load(paths, live_rows=nothing, ids=nothing, dim=dim, metric=metric, payloads=lambda rows: _payloads(paths, rows))


def _payloads(paths: Mapping[str, Path], rows: Rows) -> SealedPayloads:
    path = paths.get(PAYLOAD_SUFFIX)
    return SealedPayloads.from_payloads((None for _ in rows), PayloadBounds()) if path is None else SealedPayloads.read(path)
