"""Checks store.db of a replica: SQLite's own checks, every row's crcs, the index on id, counters, requests. Also
computes the digests by which replicas of a shard are compared: over (id, seq) of every point, and over (id, version).

Two replicas that have applied the same records hold the same set of (id, seq), but perhaps in another order of rows. So
a digest is the sum of one hash per point, modulo 2^128: it does not depend on the order and is computed row by row. The
digest over (id, seq) covers payloads and vectors by their crcs and by seq: the record `seq` wrote both. The digest over
versions (shoal.shard_worker.fsck.agreement) covers them as well.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shoal.core.errors import DataLoss, InvalidArgument
from shoal.core.points import PointId
from shoal.shard_worker.fsck.agreement import Version
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.fsck.log_check import LOST
from shoal.shard_worker.replica.packed_rows import check_packed_rows
from shoal.shard_worker.storage.checksum import part_crc, point_crc
from shoal.shard_worker.storage.store.inspection import BadPoint, StoredPoint, StoreInspection
from shoal.shard_worker.storage.store.meta_table import Counters, StoreIdentity
from shoal.shard_worker.storage.store.small_tables import SegmentEntry

Visit = Callable[[Sequence[StoredPoint]], None]
"""Called with the valid rows of the table, ascending, in chunks."""

PROGRESS_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Digests:
    """Digests of all points, over (id, seq) and over (id, version). Both are "" if not every row could be read."""

    digest: str
    content: str


def version_of(point: StoredPoint) -> Version:
    """Return the version of a point, which is the same in every replica that has applied its record.

    The number of its row is left out.
    """
    return Version(seq=point.seq, crc=point_crc(0, point.id, point.seq, part_crc(point.payload), part_crc(point.vector)))


class StoreCheck:
    """Checks one open store. progress: called with a text about the progress."""

    def __init__(
        self,
        path: Path,
        store: StoreInspection,
        identity: StoreIdentity,
        counters: Counters,
        findings: Findings,
        progress: Callable[[str], None],
    ) -> None:
        self._path, self._store, self._identity, self._counters = path, store, identity, counters
        self._findings, self._progress = findings, progress
        self._keys_sum = 0
        self._read = 0
        self._digest, self._content = Digest(), Digest()

    def tables(self) -> None:
        """Run SQLite's check of its pages, and check that the index on id holds what was written."""
        self._progress("checking pages of the store")
        try:
            for problem in self._store.problems():
                self._damage("", f"SQLite: {problem}")
            self._store.check_keys()
        except DataLoss as error:
            self._damage("", error.message)

    def points(self, visit: Visit) -> Digests:
        """Check every row and pass the valid ones to `visit`. Return the digests."""
        whole = True
        try:
            for chunk in self._store.points(self._identity, self._counters):
                good = [point for point in chunk if isinstance(point, StoredPoint)]
                whole &= len(good) == len(chunk)
                for each in chunk:
                    if isinstance(each, BadPoint):
                        self._damage(f"row {each.row}", each.reason)
                self._take(good)
                self._check_packed(good)
                visit(good)
        except DataLoss as error:
            self._damage(f"behind {self._read} rows", error.message)
            whole = False
        if whole and (self._read, self._keys_sum) != (self._counters.points, self._counters.keys_sum):
            self._damage("table points", f"its {self._read} rows are not the {self._counters.points} rows that were written")
            whole = False
        return Digests(digest=self._digest.text(), content=self._content.text()) if whole else Digests(digest="", content="")

    def requests(self) -> int:
        """Check the remembered writes. Return how many there are."""
        try:
            requests = self._store.requests()
        except DataLoss as error:
            self._damage("table requests", error.message)
            return 0
        for each in requests:
            if not 1 <= each.seq <= self._counters.applied_seq:
                self._damage(
                    "table requests",
                    f"write {each.request_id} is remembered as record {each.seq}, {self._counters.applied_seq} are applied",
                )
        return len(requests)

    def segments(self) -> list[SegmentEntry] | None:
        """Return the named files; None if the table cannot be read."""
        try:
            entries = self._store.segments()
        except DataLoss as error:
            self._damage("table segments", error.message)
            return None
        for entry in entries:
            if entry.applied_seq > self._counters.applied_seq:
                self._damage(
                    "table segments",
                    f"{entry.name} was built from record {entry.applied_seq}, {self._counters.applied_seq} are applied",
                )
        return entries

    def _take(self, good: Sequence[StoredPoint]) -> None:
        before = self._read // PROGRESS_ROWS
        for point in good:
            self._keys_sum = (self._keys_sum + point.key_crc) % 2**32
            self._digest.add(point.id, point.seq)
            self._content.add(point.id, version_of(point).crc)
        self._read += len(good)
        if self._read // PROGRESS_ROWS != before:
            self._progress(f"{self._read:,} of {self._counters.points:,} points")

    def _check_packed(self, good: Sequence[StoredPoint]) -> None:
        """Check that the vectors are packed rows of the named vectors, if the store has any (ADR 36)."""
        dims = self._identity.dims
        for point in good if dims else ():
            try:
                check_packed_rows(np.frombuffer(point.vector, dtype="<f4")[None, :], dims)
            except InvalidArgument as error:
                self._damage(f"row {point.row}", error.message)

    def _damage(self, position: str, meaning: str) -> None:
        self._findings.damage(self._path, position, meaning, LOST)


_BITS = 128
_NUMBER = struct.Struct("<QB")
_INTEGER = struct.Struct("<q")


class Digest:
    """The sum so far."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, point_id: PointId, number: int) -> None:
        """Add one point. number: its seq or its version; unsigned 64 bits."""
        is_text = isinstance(point_id, str)
        key = point_id.encode("utf-8") if isinstance(point_id, str) else _INTEGER.pack(point_id)
        hashed = hashlib.blake2b(_NUMBER.pack(number, is_text) + key, digest_size=_BITS // 8).digest()
        self._sum = (self._sum + int.from_bytes(hashed, "little")) % 2**_BITS

    def text(self) -> str:
        """Return the digest as 32 hexadecimal digits; without points all are 0."""
        return f"{self._sum:032x}"
