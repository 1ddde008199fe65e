"""A sealed segment as a check sees it: what its files hold, whether or not the rows live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.errors import DataLoss
from shoal.core.points import Matrix
from shoal.shard_worker.index.lookup import Positions, Rows
from shoal.shard_worker.index.sealed import PAYLOAD_SUFFIX, SealedSegment
from shoal.shard_worker.payload.matched import PayloadBounds, PayloadPart
from shoal.shard_worker.payload.sealed import SealedPayloads


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InspectedSegment:
    """n rows. rows: (n,) int64 row numbers of the store; vectors: (n, dim) prepared; payloads: index over theirs, None
    when the segment has none; metrics: those that the files are good for, at least one."""

    segment: SealedSegment
    rows: Rows
    vectors: Matrix
    payloads: PayloadPart | None
    metrics: tuple[Metric, ...]

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """(found, positions): which of `rows` (m,) are in it, as a mask (m,), and where those are (found.sum(),)."""
        return self.segment.find(rows)


def inspect_segment(paths: Mapping[str, Path], dim: int) -> InspectedSegment:
    """The segment in files whose hashes the caller has verified, by their suffixes.

    Raises DataLoss when a file is not there, cannot be read, or they do not belong together; OSError when one cannot be
    opened.
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
    """A file says whether it compares by distance or by inner product; which of the two users of that, only the vectors
    tell.
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
