"""Fills the index of a replica that is opened: sealed segments from their files, what no intact file holds from the store.

Files are checked by size and hash before anyone parses them. A segment without its index, rows or vectors is sealed anew from
the store; one that lacks only its payload index gets a new one, and keeps its graph.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from shard_worker.index.replica_index import ReplicaIndex
from shard_worker.index.sealed import INDEX_SUFFIX, PAYLOAD_SUFFIX, ROWS_SUFFIX
from shard_worker.payload.matched import PayloadBounds
from shard_worker.payload.sealed import SealedPayloads
from shard_worker.storage.mutation import Rows
from shard_worker.storage.points_reading import LiveRows
from shard_worker.storage.points_store import PointsStore
from shard_worker.storage.segment_files import SegmentFiles
from shard_worker.storage.small_tables import SegmentEntry
from shoal.core.errors import DataLoss
from shoal.core.ids import ShardId
from shoal.runtime.logs import event

log = logging.getLogger("shoal.worker.opening")

_LOAD_ROWS = 10_000


class Opening:
    """One opening. `load`, then `mend` once files without a name may be deleted."""

    def __init__(self, *, shard: ShardId, store: PointsStore, files: SegmentFiles, index: ReplicaIndex, bounds: PayloadBounds) -> None:
        self._shard, self._store, self._files, self._index, self._bounds = shard, store, files, index, bounds
        self._named: dict[str, dict[str, SegmentEntry]] = {}
        for entry in store.segments():
            path = Path(entry.name)
            self._named.setdefault(path.stem, {})[path.suffix] = entry
        self._gone: list[str] = []
        self._made: dict[str, tuple[SealedPayloads, SegmentEntry]] = {}

    def load(self) -> tuple[int, int]:
        """Fill the index, visible on return, and take the names of damaged files out of the store. (rows from files, damaged segments)."""
        live = self._store.live_rows()
        damaged = [name for name in sorted(self._named) if not self._load_segment(name, live)]
        self._gone += [entry.name for name in damaged for entry in self._named[name].values()]
        missing = np.flatnonzero(self._index.missing_rows(live.rows))
        for start in range(0, len(missing), _LOAD_ROWS):
            part = missing[start : start + _LOAD_ROWS]
            rows = live.rows[part]
            self._index.load_growing(rows, live.ids[part], self._store.vectors_of(rows), self._payloads_of(rows))
        self._index.publish(self._store.applied_seq)
        if self._gone:
            self._store.replace_segments((), sorted(set(self._gone)))
        return len(live.rows) - len(missing), len(damaged)

    def mend(self) -> None:
        """Write the payload indexes that had to be made anew. Call it once their damaged files are deleted."""
        for name, (payloads, beside) in self._made.items():
            written = self._files.write(name + PAYLOAD_SUFFIX, payloads.write)
            entry = SegmentEntry(
                name=written.name, size_bytes=written.size_bytes, sha256=written.sha256, rows=beside.rows, applied_seq=beside.applied_seq
            )
            self._store.replace_segments((entry,), ())

    def _load_segment(self, name: str, live: LiveRows) -> bool:
        entries = self._named[name]
        intact = {suffix: self._files.path(entry.name) for suffix, entry in entries.items() if self._intact(entry)}
        broken = set(entries) - set(intact) - {PAYLOAD_SUFFIX}
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
            )
        except DataLoss as error:
            self._warn(name, error.message, "rebuild")
            self._made.pop(name, None)
            return False
        return True

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
        """Payloads of rows, none for those that are dead."""
        alive = np.isin(rows, live.rows)
        for start in range(0, len(rows), _LOAD_ROWS):
            part = alive[start : start + _LOAD_ROWS]
            found = iter(self._payloads_of(rows[start : start + _LOAD_ROWS][part]))
            yield from (next(found) if lives else None for lives in part.tolist())

    def _payloads_of(self, rows: Rows) -> tuple[bytes | None, ...]:
        stored = self._store.rows(rows, with_vectors=False, with_payloads=True)
        if not stored.found.all() or stored.columns.payloads is None:
            raise DataLoss(f"row {rows[~stored.found][0]} of shard {self._shard} does not exist in the store")
        return stored.columns.payloads

    def _intact(self, entry: SegmentEntry) -> bool:
        return self._files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256)

    def _warn(self, name: str, reason: str, action: str) -> None:
        log.warning(event("segment_damaged", shard=self._shard, segment=name, reason=reason, action=action))
