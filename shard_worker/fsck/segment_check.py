"""Checks the files under `segments/` of a replica, and their content against the store.

Every file is hashed before it is parsed. Damage here costs no data: these files are derived, and the worker builds them
again. But a segment whose hash is right and whose content disagrees with the store is a defect of Shoal.

The store tells which named vectors its rows are packed of (ADR 36). The name of a segment tells which of them it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss, ShoalError
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import normalised
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.fsck.payload_check import PayloadCheck
from shoal.shard_worker.fsck.text_check import TextCheck
from shoal.shard_worker.index.inspection import InspectedSegment, inspect_segment
from shoal.shard_worker.index.sealed import PAYLOAD_SUFFIX, TEXT_SUFFIX
from shoal.shard_worker.replica.packed_rows import RowPart, row_parts
from shoal.shard_worker.replica.segment_names import segment_of, vector_of
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.store.inspection import StoredPoint
from shoal.shard_worker.storage.store.meta_table import StoreIdentity
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from shoal.shard_worker.text.text_file import read_texts

REBUILT = "no data is lost: the worker builds the segment again when it opens the replica"
PAYLOADS_REBUILT = "no data is lost: the worker makes the segment's payload index again when it opens the replica, and keeps its graph"
TEXTS_REBUILT = "no data is lost: the worker indexes the segment's texts again when it opens the replica, and keeps its graph"
DEFECT = "the files were written with wrong content: report it; to have the segment built again, delete them while the worker is stopped"

_KEEPING_THE_GRAPH = {PAYLOAD_SUFFIX: PAYLOADS_REBUILT, TEXT_SUFFIX: TEXTS_REBUILT}

_ROUNDING = 1e-6
"""Most difference of a component of a unit vector: processors round the scaling to unit length differently."""

_MOST_ROWS_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentFigures:
    """segments, bytes: of the segments that the store names and their files; sealed_rows: live rows in segments;
    growing_rows: live rows in no segment; with named vectors, both are of the segments of the points.
    """

    segments: int = 0
    bytes: int = 0
    sealed_rows: int = 0
    growing_rows: int = 0


class SegmentsCheck:
    """Checks the segments of one replica: `files`, then `see` for every chunk of the store's points, then `finish`."""

    def __init__(self, folder: Path, store: StoreIdentity, findings: Findings) -> None:
        self._folder, self._dim, self._findings = folder, store.dim, findings
        points, named = row_parts(store.dims)
        self._parts = {"": points} | {name: part for (name, _), part in zip(store.vectors, named, strict=True)}
        self._files = SegmentFiles(folder)
        self._open: list[_OpenSegment] = []
        self._segments = self._bytes = self._sealed_rows = self._growing_rows = 0

    def files(self, entries: Sequence[SegmentEntry]) -> None:
        """Hash every named file, load the segments that are whole, note files that the store does not name."""
        named = {entry.name for entry in entries}
        self._note_orphans(named)
        self._bytes = sum(entry.size_bytes for entry in entries)
        by_segment: dict[str, list[SegmentEntry]] = {}
        for entry in entries:
            by_segment.setdefault(segment_of(entry.name), []).append(entry)
        self._segments = len(by_segment)
        for name, mine in by_segment.items():
            # check all of them, so that each damaged file is named
            if sum(not self._is_whole(entry) for entry in mine) == 0 and self._is_known(name):
                self._load(name, mine, self._parts[vector_of(name)])

    def see(self, points: Sequence[StoredPoint]) -> None:
        """Compare valid rows of the store, ascending, with every segment."""
        if not points:
            return
        rows = np.array([point.row for point in points], dtype=np.int64)
        vectors = np.frombuffer(b"".join(point.vector for point in points), dtype="<f4").reshape(len(points), self._dim)
        for vector in self._parts:
            holders = np.zeros(len(points), dtype=np.int64)
            for segment in self._open:
                if segment.vector == vector:
                    holders += segment.compare(points, rows, vectors)
            if not vector:
                self._sealed_rows += int(np.count_nonzero(holders))
                self._growing_rows += int(np.count_nonzero(holders == 0))
            for row in rows[holders > 1][:_MOST_ROWS_NAMED].tolist():
                of_one = f" of vector {vector!r}" if vector else ""
                reason = f"it lies in {holders[rows == row][0]} sealed segments{of_one}"
                self._findings.damage(self._folder, f"row {row}", reason, DEFECT)

    def finish(self) -> SegmentFigures:
        """Note what only shows after all rows. Return the figures."""
        for segment in self._open:
            segment.finish()
        return SegmentFigures(segments=self._segments, bytes=self._bytes, sealed_rows=self._sealed_rows, growing_rows=self._growing_rows)

    def _note_orphans(self, named: set[str]) -> None:
        found = sorted(path for path in self._folder.iterdir() if path.name not in named) if self._folder.is_dir() else []
        for path in found:
            self._findings.warning(
                path, "", "no segment of the store has this file: a crash left it", "nothing: it is deleted when the replica is opened"
            )

    def _is_whole(self, entry: SegmentEntry) -> bool:
        path = self._files.path(entry.name)
        try:
            if self._files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256):
                return True
        except ShoalError as error:
            self._findings.unchecked(path, error.message, "see the message")
            return False
        if not path.exists():
            meaning = "the store names it and it is missing"
        elif path.stat().st_size != entry.size_bytes:
            meaning = f"it has {path.stat().st_size} bytes, {entry.size_bytes} were written"
        else:
            meaning = f"its sha256 is not the one that was written ({entry.sha256[:12]}...)"
        self._findings.damage(path, "", meaning, _KEEPING_THE_GRAPH.get(path.suffix, REBUILT))
        return False

    def _is_known(self, name: str) -> bool:
        vector = vector_of(name)
        if vector in self._parts:
            return True
        self._findings.damage(
            self._folder / name,
            "",
            f"it is of vector {vector!r}, the store has {', '.join(filter(None, self._parts)) or 'one vector without a name'}",
            "no data is lost: the worker deletes the segment when it opens the replica",
        )
        return False

    def _load(self, name: str, entries: Sequence[SegmentEntry], part: RowPart) -> None:
        paths = {Path(entry.name).suffix: self._files.path(entry.name) for entry in entries}
        text_path = paths.get(TEXT_SUFFIX)
        try:
            inspected = inspect_segment(paths, part.width(self._dim))
            texts = None if text_path is None else read_texts(text_path)
        except DataLoss as error:
            self._findings.damage(self._folder / name, "", error.message, DEFECT)
            return
        except OSError as error:
            self._findings.unchecked(self._folder / name, f"it cannot be read: {error.strerror}", "see the message")
            return
        if inspected.payloads is None:
            self._findings.warning(
                self._folder / name, "", "the segment has no payload index", "nothing: it is made when the replica is opened"
            )
        wrong = [entry for entry in entries if entry.rows != len(inspected.rows)]
        for entry in wrong:
            self._findings.damage(
                self._folder / entry.name, "", f"the store says it was built from {entry.rows} rows, it holds {len(inspected.rows)}", DEFECT
            )
        if texts is not None and text_path is not None and len(texts) != len(inspected.rows):
            reason = f"it holds the texts of {len(texts)} rows, the segment {len(inspected.rows)} rows"
            self._findings.damage(text_path, "", reason, DEFECT)
            texts = None
        check = None if texts is None or text_path is None else TextCheck(text_path, texts, self._findings)
        self._open.append(_OpenSegment(self._folder / name, part, inspected, check, self._findings))


class _OpenSegment:
    """One whole segment, compared with the store's rows chunk by chunk."""

    def __init__(self, path: Path, part: RowPart, inspected: InspectedSegment, texts: TextCheck | None, findings: Findings) -> None:
        self.vector = vector_of(path.name)
        self._path, self._part, self._inspected, self._texts, self._findings = path, part, inspected, texts, findings
        self._lacking: list[int] = []
        self._payloads = None if inspected.payloads is None else PayloadCheck(path, inspected.payloads, findings)
        self._wrong: dict[Metric, list[int]] = {metric: [] for metric in inspected.metrics}

    def compare(self, points: Sequence[StoredPoint], rows: npt.NDArray[np.int64], vectors: Matrix) -> npt.NDArray[np.bool_]:
        """Compare the segment with these rows. Return which rows it holds, (n,) bool."""
        found, positions = self._inspected.find(rows)
        if (having := self._part.held(vectors)) is not None:
            self._lacking += rows[found & ~np.isin(np.arange(len(rows)), having)].tolist()
        held, stored = self._inspected.vectors[positions], self._part.of(vectors)[found]
        for metric, wrong in self._wrong.items():
            wrong += rows[found][~_same(held, stored, metric)].tolist()
        mine = [points[at] for at in np.flatnonzero(found).tolist()]
        for check in (self._payloads, self._texts):
            if check is not None:
                check.see(mine, positions)
        return found

    def finish(self) -> None:
        """Note vectors that differ under every metric the segment may have, and errors of the indexes of payloads and
        texts."""
        wrong = min(self._wrong.values(), key=len)
        for rows, reason in ((wrong, "of its vectors are not those of the store"), (self._lacking, "of its rows lack this vector")):
            if rows:
                self._findings.damage(self._path, f"rows {', '.join(map(str, rows[:_MOST_ROWS_NAMED]))}", f"{len(rows)} {reason}", DEFECT)
        for check in (self._payloads, self._texts):
            if check is not None:
                check.finish()


def _same(held: Matrix, stored: Matrix, metric: Metric) -> npt.NDArray[np.bool_]:
    """Return which prepared vectors (n, dim) equal the stored ones, (n,) bool."""
    if metric is not Metric.COSINE:
        equal: npt.NDArray[np.bool_] = (held == stored).all(axis=1)
        return equal
    # a zero vector has no direction, so it is in no segment under cosine
    direction = stored.any(axis=1)
    close = np.zeros(len(stored), dtype=bool)
    close[direction] = (np.abs(held[direction] - normalised(stored[direction])) <= _ROUNDING).all(axis=1)
    return close
