"""The log of one replica: the source of durability.

Owns the files under `log/` and the watermark beside them: appends groups of records with one flush each, verifies everything when
opened, reads records back, trims whole files. It refuses to go on after a write or flush that failed, to cut what was durable, and
to know what a body means.

Threads: one writer calls append, trim and close; read may be called from any thread.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from shard_worker.logic.record import Record
from shard_worker.storage.durable import flush_data, fsync_path, make_folder
from shard_worker.storage.failure import StorageFailed, write_failure
from shard_worker.storage.frame import encode_group
from shard_worker.storage.log_file import BEFORE_FIRST, LogEnd, LogIdentity, create_log_file
from shard_worker.storage.log_opening import OpenedLog, open_log_files
from shard_worker.storage.log_reading import read_records
from shard_worker.storage.watermark import Watermark, load_watermark, save_watermark
from shoal.core.errors import Internal
from shoal.core.ids import ClusterId, ReplicaId, Seq, Term
from shoal.runtime.fault_points import fault_point


def _untold(seconds: float) -> None:
    """Default for flushed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """file_bytes: size at which a new file is begun; the watermark is written after so many appends or bytes, whichever is first.

    flushed: told the seconds of each append with its flush, on the writer's thread.
    """

    file_bytes: int = 64 * 1024 * 1024
    watermark_every_appends: int = 256
    watermark_every_bytes: int = 16 * 1024 * 1024
    flushed: Callable[[float], None] = _untold


DEFAULT_LOG_SETTINGS = LogSettings()


class ReplicaLog:
    """An open log. Made by `create` or `open`, ended by `close`."""

    def __init__(self, *, folder: Path, identity: LogIdentity, opened: OpenedLog, settings: LogSettings) -> None:
        self._folder = folder
        self._identity = identity
        self._settings = settings
        self._files = opened.files
        self._end = opened.end
        self._term_starts = opened.term_starts
        self._sizes = opened.sizes
        self._unmarked_appends = 0
        self._unmarked_bytes = 0
        self._refusal: StorageFailed | None = None
        self._descriptor: int | None = None
        self.cut_bytes = opened.cut_bytes
        """Bytes of a torn tail that opening has cut."""
        with self._writing():
            self._descriptor = _open_for_append(self._files[-1].path)

    @classmethod
    def create(
        cls, folder: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, settings: LogSettings = DEFAULT_LOG_SETTINGS
    ) -> ReplicaLog:
        """An empty, durable log in the replica folder `folder`. Raises StorageFailed."""
        identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
        try:
            make_folder(folder / "log")
            file = create_log_file(folder / "log", identity, BEFORE_FIRST)
        except OSError as error:
            raise write_failure(error, f"log {folder}") from error
        save_watermark(_watermark_path(folder), Watermark(seq=Seq(0), crc=0, kept_from=Seq(1)))
        opened = OpenedLog(files=(file,), end=BEFORE_FIRST, term_starts={}, sizes=(file.header_bytes,), cut_bytes=0)
        return cls(folder=folder, identity=identity, opened=opened, settings=settings)

    @classmethod
    def open(
        cls, folder: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, applied_seq: Seq, settings: LogSettings = DEFAULT_LOG_SETTINGS
    ) -> ReplicaLog:
        """The log in the replica folder `folder`, verified to its end; what it then holds is durable.

        applied_seq: how far the store has applied; the log must reach it and must not begin behind it.
        A torn tail is cut. Raises DataLoss for damage, naming file, offset and seq; PreconditionFailed for a newer format or another
        cluster's or replica's log; StorageFailed when the disk refuses.
        """
        identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
        opened = open_log_files(folder / "log", identity, load_watermark(_watermark_path(folder)), applied_seq)
        log = cls(folder=folder, identity=identity, opened=opened, settings=settings)
        try:
            log._mark()
        except StorageFailed:
            log.close()
            raise
        return log

    @property
    def last(self) -> tuple[Term, Seq]:
        """Term and seq of the last record; of the one before the log begins when it holds none; (0, 0) before any."""
        return self._end.term, self._end.seq

    @property
    def first_seq(self) -> Seq:
        """Seq of the first record that is kept."""
        return self._files[0].first_seq

    @property
    def term_starts(self) -> Mapping[Term, Seq]:
        """For each term of which records are kept: the seq of its first kept record. In order."""
        return MappingProxyType(self._term_starts)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self._sizes)

    def append(self, records: Sequence[Record]) -> None:
        """Append the group; it is durable when the call returns: one write, one flush.

        Raises Internal when the records do not continue the log and ResourceExhausted when one is too large: then nothing was
        written. Raises StorageFailed when the disk refuses; the log is then dead and refuses everything until it is opened anew.
        """
        self._check_usable()
        if not records:
            return
        _check_continues(self._end, records)
        group = encode_group(records, self._end.crc, self._identity.seed)
        if self._end.seq >= self._files[-1].first_seq and self._sizes[-1] + len(group.data) > self._settings.file_bytes:
            self._roll()
        began = time.perf_counter()
        with self._writing():
            fault_point("log.write")
            _write_all(self._open_descriptor(), group.data)
            fault_point("log.written")
            flush_data(self._open_descriptor())
        fault_point("log.durable")
        self._settings.flushed(time.perf_counter() - began)
        self._advance(records, group.last_crc, len(group.data))

    def read(self, from_seq: Seq) -> Iterator[Record]:
        """Records from `from_seq` to what is now the last one, in order, each verified again.

        Raises PreconditionFailed when `from_seq` is trimmed, also while iterating; DataLoss for damage found while iterating.
        """
        through_seq = self._end.seq  # before the files: the writer may roll in between, and must not leave a record without its file
        return read_records(self._files, self._identity.seed, from_seq=from_seq, through_seq=through_seq)

    def trim(self, through_seq: Seq) -> int:
        """Delete the files whose records all have seq <= through_seq, never the active one. Returns how many.

        Only records whose effect a checkpoint of the store has made durable may be trimmed. Raises StorageFailed.
        """
        self._check_usable()
        going = [file for file, following in itertools.pairwise(self._files) if following.before.seq <= through_seq]
        if not going:
            return 0
        self._files, self._sizes = self._files[len(going) :], self._sizes[len(going) :]
        self._term_starts = _starts_from(self._term_starts, self.first_seq)
        fault_point("log.trim")
        self._mark()
        with self._writing():
            for file in going:
                fault_point("log.unlink")
                file.path.unlink()
            fault_point("log.unlinked")
            fsync_path(self._folder / "log")
        fault_point("log.trimmed")
        return len(going)

    def close(self) -> None:
        """Write the watermark and close the file; a second call does nothing. Raises StorageFailed."""
        if self._descriptor is None:
            return
        try:
            if self._refusal is None:
                self._mark()
        finally:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _roll(self) -> None:
        with self._writing():
            fault_point("log.roll")
            file = create_log_file(self._folder / "log", self._identity, self._end)
            descriptor, self._descriptor = self._open_descriptor(), _open_for_append(file.path)
            os.close(descriptor)
        self._files, self._sizes = (*self._files, file), (*self._sizes, file.header_bytes)
        fault_point("log.rolled")
        self._mark()

    def _advance(self, records: Sequence[Record], last_crc: int, group_bytes: int) -> None:
        last = records[-1]
        self._end = LogEnd(term=last.term, seq=last.seq, crc=last_crc)
        if last.term not in self._term_starts:
            self._term_starts = {**{record.term: record.seq for record in reversed(records)}, **self._term_starts}
            self._term_starts = dict(sorted(self._term_starts.items()))
        self._sizes = (*self._sizes[:-1], self._sizes[-1] + group_bytes)
        self._unmarked_appends += 1
        self._unmarked_bytes += group_bytes
        appends_due = self._unmarked_appends >= self._settings.watermark_every_appends
        if appends_due or self._unmarked_bytes >= self._settings.watermark_every_bytes:
            self._mark()

    def _mark(self) -> None:
        try:
            save_watermark(_watermark_path(self._folder), Watermark(seq=self._end.seq, crc=self._end.crc, kept_from=self.first_seq))
        except StorageFailed as error:
            self._refusal = error
            raise
        fault_point("log.marked")
        self._unmarked_appends = self._unmarked_bytes = 0

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
        self._open_descriptor()

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise Internal(f"log {self._folder} is closed")
        return self._descriptor


def _check_continues(end: LogEnd, records: Sequence[Record]) -> None:
    term, seq = end.term, end.seq
    for record in records:
        if record.seq != seq + 1 or record.term < term:
            raise Internal(f"record {record.seq} of term {record.term} does not continue the log after seq {seq} of term {term}")
        term, seq = record.term, record.seq


def _starts_from(term_starts: Mapping[Term, Seq], first_seq: Seq) -> dict[Term, Seq]:
    """The table without what lies before `first_seq`: of the terms that begin before it only the last one can still have records."""
    early = [term for term, seq in term_starts.items() if seq < first_seq]
    kept = {term: seq for term, seq in term_starts.items() if seq >= first_seq}
    reaches = bool(early) and first_seq not in kept.values()
    return {early[-1]: first_seq, **kept} if reaches else kept


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_for_append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _watermark_path(folder: Path) -> Path:
    return folder / "watermark.json"
