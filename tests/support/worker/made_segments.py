"""Sealed segments, made as a replica makes them: frozen rows, a build, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shoal.core.index_spec import IndexSpec, parse_index
from shoal.core.metric import Metric
from shoal.core.scoring import prepared
from shoal.shard_worker.index.build import BuildJob, Source
from shoal.shard_worker.index.growing import GrowingSegment
from shoal.shard_worker.index.sealed import VECTORS_SUFFIX, SealedSegment
from shoal.shard_worker.index.view import ALIVE
from shoal.shard_worker.logic.segments.segment_form import SealedForm
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads

BUCKETS = 7


def clustered(seed: int, rows: int, dim: int) -> np.ndarray:
    """Return (rows, dim) float32 around a few dozen centres, which are the same for all seeds."""
    centres = np.random.default_rng(1).standard_normal((40, dim)) * 2
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 40, rows)] + rng.standard_normal((rows, dim))).astype(np.float32)


def form_of(text: str, dim: int, metric: Metric = Metric.L2, *, spec: IndexSpec | None = None) -> SealedForm:
    return SealedForm(dim=dim, metric=metric, spec=spec or parse_index(text, dim), ef_construction=40)


def payload_of(row: int) -> bytes:
    return b'{"bucket": %d}' % (row % BUCKETS)


def frozen(vectors: np.ndarray, metric: Metric, *, first_row: int = 0) -> Source:
    """Return rows that wait to be sealed: vectors as given, ids are row numbers plus a million."""
    rows = np.arange(first_row, first_row + len(vectors), dtype=np.int64)
    segment = GrowingSegment(key=1 + first_row, dim=vectors.shape[1], capacity=max(1, len(rows)), bounds=PayloadBounds())
    segment.append(rows, rows + 1_000_000, prepared(vectors, metric), [payload_of(row) for row in rows.tolist()])
    segment.freeze()
    return Source(key=segment.key, name="", part=segment.part(), positions=np.arange(len(rows), dtype=np.int64))


def sealed_source(segment: SealedSegment, *, name: str = "base", whole: bool = True) -> Source:
    segment.name = name
    part = segment.part()
    positions = np.arange(len(part), dtype=np.int64) if whole else np.flatnonzero(part.deaths == ALIVE)
    return Source(key=9_999, name=name, part=part, positions=positions, trained_rows=segment.trained_rows)


def built(form: SealedForm, others: tuple[Source, ...], folder: Path, *, base: Source | None = None) -> SealedSegment:
    """Return the result of a build, with its vectors mapped where required."""
    sealed = BuildJob(seq=1, form=form, base=base, others=others).run(bool)
    assert sealed is not None
    write = sealed.files().get(VECTORS_SUFFIX)
    if write is not None:
        path = folder / f"{id(sealed)}{VECTORS_SUFFIX}"
        write(path)
        sealed.map_vectors(path)
    return sealed


def written(segment: SealedSegment, folder: Path, name: str = "one") -> dict[str, Path]:
    """Write all files of a segment. Return them by suffix."""
    paths = {suffix: folder / f"{name}{suffix}" for suffix in segment.files()}
    for suffix, write in segment.files().items():
        write(paths[suffix])
    return paths


def reloaded(paths: dict[str, Path], form: SealedForm, rows: np.ndarray) -> SealedSegment:
    """Return the segment loaded from files, with `rows` alive."""
    return SealedSegment.load(
        paths,
        live_rows=rows,
        ids=rows + 1_000_000,
        dim=form.dim,
        metric=form.metric,
        payloads=lambda _: SealedPayloads.read(paths[".payload"]),
    )
