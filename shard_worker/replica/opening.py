"""Fills the indexes of a replica that is being opened: sealed segments from their files, all other rows from the store.

Files are checked by size and hash before they are parsed. A segment without its index, rows or vectors is built again
from the store; a segment that lacks only its payload index or the index of its texts gets a new one and keeps its
graph. Text fields that were added or changed since are left to background work: until then no search sees them.

Which named vectors a row has is number 0 of its packed row. The index of the points holds this number, so it is filled
first, and the rows of its segments are not read from the store to learn which of them another index lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss
from shoal.core.ids import ShardId
from shoal.runtime.logs import event
from shoal.shard_worker.index.sealed import INDEX_SUFFIX, PAYLOAD_SUFFIX, ROWS_SUFFIX, TEXT_SUFFIX
from shoal.shard_worker.index.view import ALIVE
from shoal.shard_worker.logic.read_pace import ReadPace
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.replica.built_index import BuiltIndex
from shoal.shard_worker.replica.segment_names import segment_of, vector_of
from shoal.shard_worker.replica.segment_texts import never
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.store.mutation import Rows
from shoal.shard_worker.storage.store.points_reading import LiveRows
from shoal.shard_worker.storage.store.points_store import PointsStore
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.text_file import read_texts

log = logging.getLogger("shoal.worker.opening")


class Opening:
    """The opening of one replica. Call `load`, then `mend` once files without a name may be deleted."""

    def __init__(
        self,
        *,
        shard: ShardId,
        store: PointsStore,
        files: SegmentFiles,
        points: BuiltIndex,
        named: Mapping[str, BuiltIndex],
        bounds: PayloadBounds,
    ) -> None:
        """points: the index of the points; named: that of each named vector."""
        self._shard, self._store, self._files, self._bounds = shard, store, files, bounds
        self._points, self._indexes = points, {points.name: points, **named}
        self._texts = points.texts
        self._named: dict[str, dict[str, SegmentEntry]] = {}
        for entry in store.segments():
            self._named.setdefault(segment_of(entry.name), {})[Path(entry.name).suffix] = entry
        self._gone: list[str] = []
        self._pace = ReadPace()
        self._made: dict[str, tuple[SealedPayloads, SegmentEntry]] = {}
        self._damaged_texts: set[str] = set()

    def load(self) -> tuple[int, int]:
        """Fill the indexes, visible on return, and remove the names of damaged files from the store.

        Returns the number of points from files and the number of damaged segments.
        """
        live = self._store.live_rows()
        damaged = self._unknown_segments() + self._load_segments(self._points, live)
        lacking = {self._points.name: self._points.index.missing_rows(live.rows)}
        sealed = len(live.rows) - int(np.count_nonzero(lacking[self._points.name]))
        if len(self._indexes) > 1:
            numbers = self._packed_numbers(live)
            for name, index in self._indexes.items():
                if index is not self._points:
                    may_have = numbers < 0 if index.part.bit is None else (numbers < 0) | (numbers >> index.part.bit & 1).astype(bool)
                    damaged += self._load_segments(index, LiveRows(rows=live.rows[may_have], ids=live.ids[may_have]))
                    lacking[name] = may_have & index.index.missing_rows(live.rows)
        self._gone += [entry.name for name in damaged for entry in self._named[name].values()]
        self._load_growing(live, lacking)
        for index in self._indexes.values():
            index.publish(self._store.applied_seq)
        if self._gone:
            self._store.replace_segments((), sorted(set(self._gone)))
        return sealed, len(damaged)

    def _unknown_segments(self) -> list[str]:
        """Return the segments of vectors that the collection does not have. Nothing needs them."""
        unknown = [name for name in sorted(self._named) if vector_of(name) not in self._indexes]
        for name in unknown:
            self._warn(name, f"there is no vector {vector_of(name)!r}", "delete")
        return unknown

    def _load_segments(self, index: BuiltIndex, live: LiveRows) -> list[str]:
        """Load the segments of an index. live: the rows that it may hold. Return those that are damaged."""
        mine = [name for name in sorted(self._named) if vector_of(name) == index.name]
        return [name for name in mine if not self._load_segment(index, name, live)]

    def _packed_numbers(self, live: LiveRows) -> npt.NDArray[np.int64]:
        """Return number 0 of each live row, (n,) int64, as far as segments of the points hold it, else -1."""
        numbers = np.full(len(live.rows), -1, dtype=np.int64)
        self._points.publish(self._store.applied_seq)
        for part in self._points.index.view().parts:
            alive = np.flatnonzero(part.deaths == ALIVE)
            numbers[live.rows.searchsorted(part.rows[alive])] = part.vectors[alive, 0].astype(np.int64)
        return numbers

    def _load_growing(self, live: LiveRows, lacking: Mapping[str, npt.NDArray[np.bool_]]) -> None:
        """Load rows from the store. lacking: (n,) for each index, which of the live rows it may lack."""
        missing = np.flatnonzero(np.logical_or.reduce(list(lacking.values())))
        for part in self._blocks(len(missing)):
            here = missing[part]
            rows, ids = live.rows[here], live.ids[here]
            vectors, payloads = self._store.vectors_of(rows), self._payloads_of(rows)
            for name, index in self._indexes.items():
                wanted = lacking[name][here]
                if (held := index.part.held(vectors)) is not None:
                    wanted &= np.isin(np.arange(len(here)), held)
                taken = np.flatnonzero(wanted)
                if len(taken) == len(here):
                    index.index.load_growing(rows, ids, index.part.of(vectors), payloads)
                elif len(taken):
                    some = tuple(payloads[at] for at in taken.tolist())
                    index.index.load_growing(rows[taken], ids[taken], index.part.of(vectors)[taken], some)

    def mend(self) -> None:
        """Write the indexes of payloads and texts that had to be made again. Call it after their damaged files are
        deleted."""
        self._mend_texts()
        for name, (payloads, beside) in self._made.items():
            try:
                written = self._files.write(name + PAYLOAD_SUFFIX, payloads.write)
            except StorageFailed as error:
                # The payload index stays in memory, and is made again at the next opening.
                self._warn(name, error.message, "go on without its payload file")
                continue
            entry = SegmentEntry(
                name=written.name, size_bytes=written.size_bytes, sha256=written.sha256, rows=beside.rows, applied_seq=beside.applied_seq
            )
            self._store.replace_segments((entry,), ())

    def _load_segment(self, index: BuiltIndex, name: str, live: LiveRows) -> bool:
        entries = self._named[name]
        intact = {suffix: self._files.path(entry.name) for suffix, entry in entries.items() if self._intact(entry)}
        broken = set(entries) - set(intact) - {PAYLOAD_SUFFIX, TEXT_SUFFIX}
        if broken or not {INDEX_SUFFIX, ROWS_SUFFIX} <= set(intact):
            self._warn(name, f"{', '.join(sorted(broken)) or 'a part'} is missing or damaged", "rebuild")
            return False
        try:
            index.index.load_sealed(
                name=name,
                paths=intact,
                live_rows=live.rows,
                ids=live.ids,
                payloads=lambda rows: self._payload_index(name, intact, rows, live),
                texts=lambda rows: self._text_index(name, intact, rows),
            )
        except DataLoss as error:
            self._warn(name, error.message, "rebuild")
            self._made.pop(name, None)
            self._damaged_texts.discard(name)
            return False
        return True

    def _mend_texts(self) -> None:
        for lacking in self._texts.lacking():
            if lacking.name not in self._damaged_texts:
                continue
            try:
                written = self._texts.write(lacking, never)
            except StorageFailed as error:
                # Background work tries it again. Until then no search sees the text fields of this replica.
                self._warn(lacking.name, error.message, "index texts later")
                continue
            self._texts.swap(written)

    def _text_index(self, name: str, intact: Mapping[str, Path], rows: Rows) -> TextPart | None:
        entry, path = self._named[name].get(TEXT_SUFFIX), intact.get(TEXT_SUFFIX)
        if entry is None:
            return None
        try:
            if path is not None:
                read = read_texts(path)
                if len(read) == len(rows):
                    return read
            reason = f"{entry.name} is missing, damaged, or of another number of rows"
        except DataLoss as error:
            reason = error.message
        self._warn(name, reason, "index texts anew")
        self._gone.append(entry.name)
        self._damaged_texts.add(name)
        return None

    def _payload_index(self, name: str, intact: Mapping[str, Path], rows: Rows, live: LiveRows) -> SealedPayloads:
        path = intact.get(PAYLOAD_SUFFIX)
        if path is not None:
            try:
                read = SealedPayloads.read(path)
                if len(read) == len(rows):
                    return read
            except DataLoss as error:
                self._warn(name, error.message, "index payloads anew")
        entry = self._named[name].get(PAYLOAD_SUFFIX)
        if entry is not None:
            if path is None:
                self._warn(name, f"{PAYLOAD_SUFFIX} is missing or damaged", "index payloads anew")
            self._gone.append(entry.name)
        made = SealedPayloads.from_payloads(self._each_payload(rows, live), self._bounds)
        self._made[name] = (made, self._named[name][ROWS_SUFFIX])
        return made

    def _each_payload(self, rows: Rows, live: LiveRows) -> Iterator[bytes | None]:
        """Yield the payload of each row; None for a deleted row."""
        alive = np.isin(rows, live.rows)
        for part in self._blocks(len(rows)):
            found = iter(self._payloads_of(rows[part][alive[part]]))
            yield from (next(found) if lives else None for lives in alive[part].tolist())

    def _payloads_of(self, rows: Rows) -> tuple[bytes | None, ...]:
        stored = self._store.rows(rows, with_vectors=False, with_payloads=True)
        if not stored.found.all() or stored.columns.payloads is None:
            raise DataLoss(f"row {rows[~stored.found][0]} of shard {self._shard} does not exist in the store")
        payloads = stored.columns.payloads
        self._pace.saw(len(rows), sum(len(text) for text in payloads if text is not None))
        return payloads

    def _blocks(self, count: int) -> Iterator[slice]:
        """Yield slices of `count` rows, each small enough that its payloads fit into memory together."""
        start = 0
        while start < count:
            end = min(count, start + self._pace.rows)
            yield slice(start, end)
            start = end

    def _intact(self, entry: SegmentEntry) -> bool:
        return self._files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256)

    def _warn(self, name: str, reason: str, action: str) -> None:
        log.warning(event("segment_damaged", shard=self._shard, segment=name, reason=reason, action=action))
