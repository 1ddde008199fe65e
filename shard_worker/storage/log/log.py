"""The log of one replica: the source of durability.

Owns the files under `log/` and the watermark beside them. Appends groups of records with one flush each, verifies
everything when it is opened, reads records back, trims whole files from the beginning, and cuts records from the end on
request. Refuses to go on after a failed write or flush, never cuts durable records on its own, and does not interpret
the bodies of records.

Threads: one writer calls append, truncate_after, trim, rest and close; read and read_some may be called from any
thread, also while the log rests.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from shoal.core.errors import DataLoss, Internal
from shoal.core.ids import ClusterId, ReplicaId, Seq, Term
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.storage.durable import flush, flush_data, fsync_path, make_folder
from shoal.shard_worker.storage.failure import StorageFailed, write_failure
from shoal.shard_worker.storage.log.file import ChainEnd, LogIdentity, create_log_file
from shoal.shard_worker.storage.log.frame import Frame, encode_group
from shoal.shard_worker.storage.log.opening import OpenedLog, open_log_files, verify_log_files
from shoal.shard_worker.storage.log.places import RecordBorder
from shoal.shard_worker.storage.log.reading import place_behind, read_frames, read_group
from shoal.shard_worker.storage.log.state import LogPart, LogState, new_state
from shoal.shard_worker.storage.log.watermark import Watermark, load_watermark, save_watermark

_PIECES_AT_ONCE = 1_024
"""Most pieces that Linux writes in one call."""


def _untold(seconds: float) -> None:
    """Do nothing (the default of `flushed`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """Settings of a log.

    file_bytes: size at which a new file is begun. The watermark is written after watermark_every_appends appends or
    watermark_every_bytes bytes, whichever comes first. flushed: called on the writer's thread after each append, with
    the seconds of its write and flush.
    """

    file_bytes: int = 64 * 1024 * 1024
    watermark_every_appends: int = 256
    watermark_every_bytes: int = 16 * 1024 * 1024
    flushed: Callable[[float], None] = _untold


DEFAULT_LOG_SETTINGS = LogSettings()


class ReplicaLog:
    """An open log. Created by `create` or `open`, ended by `close`."""

    def __init__(self, *, folder: Path, identity: LogIdentity, opened: OpenedLog, marked: Watermark, settings: LogSettings) -> None:
        self._folder = folder
        self._identity = identity
        self._settings = settings
        self._state = opened.state
        self._marked = marked
        self._unmarked_appends = 0
        self._unmarked_bytes = 0
        self._refusal: StorageFailed | None = None
        self._descriptor: int | None = None
        self._closed = False
        self.cut_bytes = opened.cut_bytes
        """Bytes of the torn tail that was cut when the log was opened."""
        with self._writing():
            self._descriptor = _open_for_append(self._state.parts[-1].file.path)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        cluster_id: ClusterId,
        replica_id: ReplicaId,
        base: tuple[Term, Seq] = (Term(0), Seq(0)),
        settings: LogSettings = DEFAULT_LOG_SETTINGS,
    ) -> ReplicaLog:
        """Create an empty, durable log in the replica folder `folder`, which holds no log. Raises StorageFailed.

        base: term and seq of the record before the first one: the last record of a snapshot, or (0, 0) for a new shard.
        """
        identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
        before = ChainEnd(term=base[0], seq=base[1], crc=0)
        try:
            make_folder(folder / "log")
            file = create_log_file(folder / "log", identity, before)
        except OSError as error:
            raise write_failure(error, f"log {folder}") from error
        watermark = Watermark(seq=before.seq, crc=before.crc, kept_from=file.first_seq)
        save_watermark(_watermark_path(folder), watermark)
        opened = OpenedLog(state=new_state(file), cut_bytes=0)
        return cls(folder=folder, identity=identity, opened=opened, marked=watermark, settings=settings)

    @classmethod
    def open(
        cls, folder: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, applied_seq: Seq, settings: LogSettings = DEFAULT_LOG_SETTINGS
    ) -> ReplicaLog:
        """Open the log in the replica folder `folder` and verify it to its end; everything in it is durable on return.

        applied_seq: seq up to which the store has applied; the log must reach it and must not begin after it. A torn
        tail is cut. Raises DataLoss for damage, naming file, offset and seq; PreconditionFailed for a newer format or
        another cluster's or replica's log; StorageFailed if the disk refuses.
        """
        identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
        watermark = load_watermark(_watermark_path(folder))
        opened = open_log_files(folder / "log", identity, watermark, applied_seq)
        log = cls(folder=folder, identity=identity, opened=opened, marked=watermark, settings=settings)
        try:
            log._mark_end()
        except StorageFailed:
            log.close()
            raise
        return log

    @property
    def last(self) -> tuple[Term, Seq]:
        """Return term and seq of the last record, or the base if the log holds no record."""
        return self._state.end.term, self._state.end.seq

    @property
    def base(self) -> tuple[Term, Seq]:
        """Return term and seq of the record before the first kept one; (0, 0) if there is none."""
        return self._state.base.term, self._state.base.seq

    @property
    def first_seq(self) -> Seq:
        """Return the seq of the first kept record."""
        return self._state.parts[0].file.first_seq

    @property
    def term_starts(self) -> Mapping[Term, Seq]:
        """Return, for each term that has kept records, the seq of its first one, in order."""
        return MappingProxyType(self._state.term_starts)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(part.size_bytes for part in self._state.parts)

    @property
    def stretches(self) -> tuple[tuple[Seq, int], ...]:
        """Return the first seq of each file and its bytes."""
        return tuple((part.file.first_seq, part.size_bytes) for part in self._state.parts)

    def append(self, records: Sequence[Record]) -> None:
        """Append the group with one write and one flush; it is durable on return.

        Raises Internal if the records do not continue the log and ResourceExhausted if one is too large; nothing is
        written then. Raises StorageFailed if the disk refuses; the log then refuses everything until it is opened
        again.
        """
        self._check_usable()
        if not records:
            return
        state = self._state
        _check_continues(state.end, records)
        group = encode_group(records, state.end.crc, self._identity.seed)
        if not state.last_part_is_empty and state.parts[-1].size_bytes + group.size_bytes > self._settings.file_bytes:
            self._roll()
        began = time.perf_counter()
        with self._writing():
            fault_point("log.write")
            _write_all(self._open_descriptor(), group.pieces)
            fault_point("log.written")
            flush_data(self._open_descriptor())
        fault_point("log.durable")
        self._settings.flushed(time.perf_counter() - began)
        self._advance(records, group.last_crc, group.size_bytes)

    def read(self, from_seq: Seq) -> Iterator[Record]:
        """Yield the records from `from_seq` to the current end, in order; each is verified again.

        Raises PreconditionFailed if `from_seq` is trimmed (also while iterating) or if the records were cut meanwhile;
        DataLoss for damage found while iterating.
        """
        return (frame.record for frame in self._frames(from_seq))

    def read_some(self, from_seq: Seq, max_bytes: int) -> tuple[Record, ...]:
        """Return records from `from_seq` on: at least one if possible, then as many as fit into max_bytes of frames.

        Reads few bytes besides these, wherever in a file they lie. Raises as read.
        """
        with closing(self._frames(from_seq)) as frames:
            return read_group(frames, max_bytes)

    def truncate_after(self, seq: Seq) -> None:
        """Cut every record with a higher seq, durable on return; the next appended record has seq+1.

        The caller knows that these records were never committed. A crash meanwhile leaves all of them, some of the
        first of them, or none. Raises Internal if seq precedes the log's base and DataLoss if the record `seq` is
        unreadable; nothing is cut then. Raises StorageFailed if the disk refuses; the log then refuses everything until
        it is opened again.
        """
        self._check_usable()
        state = self._state
        if seq >= state.end.seq:
            return
        if seq < state.base.seq:
            raise Internal(f"log {self._folder} begins with seq {self.first_seq} and cannot be cut after seq {seq}")
        kept = state.part_before(seq)
        place = place_behind(state.parts[kept], self._identity.seed, seq)
        fault_point("log.truncate")
        with self._writing():
            self._open_descriptor()
        # the watermark first: bytes that it calls durable must not be missing after a crash
        shorter = state.truncated(place)
        self._mark(shorter)
        self._state = shorter
        with self._writing():
            self._cut(state.parts[kept + 1 :], place)
        fault_point("log.truncated")

    def trim(self, through_seq: Seq) -> int:
        """Delete the files whose records all have seq <= through_seq, except the active one. Return their number.

        Trim only records whose effect a checkpoint has made durable in the store. Raises StorageFailed.
        """
        self._check_usable()
        before, self._state = self._state, self._state.trimmed(through_seq)
        going = before.parts[: len(before.parts) - len(self._state.parts)]
        if not going:
            return 0
        fault_point("log.trim")
        self._mark(self._state)
        with self._writing():
            for part in going:
                fault_point("log.unlink")
                part.file.path.unlink()
            fault_point("log.unlinked")
            fsync_path(self._folder / "log")
        fault_point("log.trimmed")
        return len(going)

    @property
    def is_marked(self) -> bool:
        """Return whether the watermark is at the end of the log."""
        return self._marked == _watermark_of(self._state)

    def rest(self) -> None:
        """Write the watermark and close the file until the next write. Raises StorageFailed."""
        self._check_usable()
        self._mark_end()
        self._release()
        fault_point("log.rested")

    def close(self) -> None:
        """Write the watermark and close the file; a second call does nothing. Raises StorageFailed."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._refusal is None:
                self._mark_end()
        finally:
            self._release()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _frames(self, from_seq: Seq) -> Generator[Frame, None, None]:
        state = self._state
        return read_frames(state, self._identity.seed, from_seq=from_seq, was_cut=lambda: self._state.cuts != state.cuts)

    def _roll(self) -> None:
        with self._writing():
            fault_point("log.roll")
            file = create_log_file(self._folder / "log", self._identity, self._state.end)
            self._write_to(file.path)
        self._state = self._state.rolled(file)
        fault_point("log.rolled")
        self._mark(self._state)

    def _cut(self, going: Sequence[LogPart], place: RecordBorder) -> None:
        """Delete the files after the cut, then shorten the last one.

        The last file goes first and each deletion is durable before the next, so a crash leaves no gap in the middle.
        """
        if going:
            self._write_to(self._state.parts[-1].file.path)
        for part in reversed(going):
            fault_point("log.drop")
            part.file.path.unlink()
            fsync_path(self._folder / "log")
        fault_point("log.shorten")
        os.ftruncate(self._open_descriptor(), place.offset)
        flush(self._open_descriptor())

    def _advance(self, records: Sequence[Record], last_crc: int, group_bytes: int) -> None:
        self._state = self._state.appended(records, last_crc, group_bytes)
        self._unmarked_appends += 1
        self._unmarked_bytes += group_bytes
        appends_due = self._unmarked_appends >= self._settings.watermark_every_appends
        if appends_due or self._unmarked_bytes >= self._settings.watermark_every_bytes:
            self._mark(self._state)

    def _mark_end(self) -> None:
        if not self.is_marked:
            self._mark(self._state)

    def _mark(self, state: LogState) -> None:
        watermark = _watermark_of(state)
        try:
            save_watermark(_watermark_path(self._folder), watermark)
        except StorageFailed as error:
            self._refusal = error
            raise
        self._marked = watermark
        fault_point("log.marked")
        self._unmarked_appends = self._unmarked_bytes = 0

    def _write_to(self, path: Path) -> None:
        descriptor, self._descriptor = self._open_descriptor(), _open_for_append(path)
        os.close(descriptor)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._refusal = write_failure(error, f"log {self._folder}")
            raise self._refusal from error

    def _check_usable(self) -> None:
        if self._refusal is not None:
            kind = type(self._refusal)
            raise kind(f"log {self._folder} takes nothing more, an earlier write failed: {self._refusal.message}")
        if self._closed:
            raise Internal(f"log {self._folder} is closed")

    def _open_descriptor(self) -> int:
        """Return the file to which records are appended, opened again after a rest. Raises DataLoss, OSError."""
        if self._descriptor is None:
            part = self._state.parts[-1]
            try:
                self._descriptor = _open_for_append(part.file.path)
            except FileNotFoundError:
                raise DataLoss(f"{part.file.path} is missing") from None
            found = os.fstat(self._descriptor).st_size
            if found != part.size_bytes:
                self._release()
                raise DataLoss(f"{part.file.path} had {part.size_bytes} bytes when it was closed, it has {found} now")
        return self._descriptor


def closed_log_end(folder: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, applied_seq: Seq) -> tuple[Term, Seq]:
    """Return term and seq of the last record of the closed log in the replica folder `folder`; nothing is changed.

    Raises DataLoss for damage, PreconditionFailed, StorageFailed.
    """
    identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
    end = verify_log_files(folder / "log", identity, load_watermark(_watermark_path(folder)), applied_seq).end
    return end.term, end.seq


def _check_continues(end: ChainEnd, records: Sequence[Record]) -> None:
    term, seq = end.term, end.seq
    for record in records:
        if record.seq != seq + 1 or record.term < term:
            raise Internal(f"record {record.seq} of term {record.term} does not continue the log after seq {seq} of term {term}")
        term, seq = record.term, record.seq


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write the pieces one behind the other, as many in one call as the system takes. Raises OSError."""
    views = deque(memoryview(piece) for piece in pieces if piece)
    while views:
        written = os.writev(descriptor, list(islice(views, _PIECES_AT_ONCE)))
        while views and written >= len(views[0]):
            written -= len(views.popleft())
        if written:
            views[0] = views[0][written:]


def _open_for_append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _watermark_of(state: LogState) -> Watermark:
    return Watermark(seq=state.end.seq, crc=state.end.crc, kept_from=state.parts[0].file.first_seq)


def _watermark_path(folder: Path) -> Path:
    return folder / "watermark.json"
