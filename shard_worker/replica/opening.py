"""Fills the index of a replica that is being opened: sealed segments from their files, all other rows from the store.

Files are checked by size and hash before they are parsed. A segment without its index, rows or vectors is built again
from the store; a segment that lacks only its payload index or the index of its texts gets a new one and keeps its
graph. Text fields that were added or changed since are left to background work: until then no search sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from shoal.core.errors import DataLoss
from shoal.core.ids import ShardId
from shoal.runtime.logs import event
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import INDEX_SUFFIX, PAYLOAD_SUFFIX, ROWS_SUFFIX, TEXT_SUFFIX
from shoal.shard_worker.logic.read_pace import ReadPace
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.replica.segment_texts import SegmentTexts, never, segment_of
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
        texts: SegmentTexts,
        index: ReplicaIndex,
        bounds: PayloadBounds,
    ) -> None:
        self._shard, self._store, self._files, self._index, self._bounds = shard, store, files, index, bounds
        self._texts = texts
        self._named: dict[str, dict[str, SegmentEntry]] = {}
        for entry in store.segments():
            self._named.setdefault(segment_of(entry.name), {})[Path(entry.name).suffix] = entry
        self._gone: list[str] = []
        self._pace = ReadPace()
        self._made: dict[str, tuple[SealedPayloads, SegmentEntry]] = {}
        self._damaged_texts: set[str] = set()

    def load(self) -> tuple[int, int]:
        """Fill the index, visible on return, and remove the names of damaged files from the store.

        Returns the number of rows from files and the number of damaged segments.
        """
        live = self._store.live_rows()
        damaged = [name for name in sorted(self._named) if not self._load_segment(name, live)]
        self._gone += [entry.name for name in damaged for entry in self._named[name].values()]
        missing = np.flatnonzero(self._index.missing_rows(live.rows))
        for part in self._blocks(len(missing)):
            rows = live.rows[missing[part]]
            self._index.load_growing(rows, live.ids[missing[part]], self._store.vectors_of(rows), self._payloads_of(rows))
        self._index.publish(self._store.applied_seq)
        if self._gone:
            self._store.replace_segments((), sorted(set(self._gone)))
        return len(live.rows) - len(missing), len(damaged)

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

    def _load_segment(self, name: str, live: LiveRows) -> bool:
        entries = self._named[name]
        intact = {suffix: self._files.path(entry.name) for suffix, entry in entries.items() if self._intact(entry)}
        broken = set(entries) - set(intact) - {PAYLOAD_SUFFIX, TEXT_SUFFIX}
        if broken or not {INDEX_SUFFIX, ROWS_SUFFIX} <= set(intact):
            self._warn(name, f"{', '.join(sorted(broken)) or 'a part'} is missing or damaged", "rebuild")
            return False
        try:
            self._index.load_sealed(
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
