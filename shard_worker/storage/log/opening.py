"""Opens a log: verifies every file and record, and cuts a torn tail. Any other damage is DataLoss."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import DataLoss
from shoal.core.ids import Seq, Term
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.logic.replication.log_tail import Damaged, TailFacts, judge_tail
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.storage.durable import remove_temporaries
from shoal.shard_worker.storage.failure import read_failure, write_failure
from shoal.shard_worker.storage.log.file import (
    ChainEnd,
    LogFile,
    LogIdentity,
    end_of,
    log_paths,
    make_tail_durable,
    read_log_file,
    walk_frames,
)
from shoal.shard_worker.storage.log.frame import Frame, holds_frame
from shoal.shard_worker.storage.log.places import SPACING_BYTES, Places, RecordBorder
from shoal.shard_worker.storage.log.state import LogPart, LogState
from shoal.shard_worker.storage.log.watermark import Watermark


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Bytes of one file: up to the last record that the watermark covers, up to the last good record, and in all."""

    proven_bytes: int
    good_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedLog:
    """A log that was read to its end and not changed.

    extents: of each file; places: borders in each; end: of its last good record. Bytes after good_bytes of the last
    file are a torn tail.
    """

    files: tuple[LogFile, ...]
    extents: tuple[Extent, ...]
    places: tuple[Places, ...]
    end: ChainEnd
    term_starts: dict[Term, Seq]

    @property
    def state(self) -> LogState:
        """Return the log without its torn tail."""
        found = zip(self.files, self.extents, self.places, strict=True)
        parts = tuple(LogPart(file=file, size_bytes=extent.good_bytes, places=places) for file, extent, places in found)
        return LogState(parts=parts, end=self.end, term_starts=self.term_starts)

    @property
    def torn_bytes(self) -> int:
        """Return the bytes of the torn tail."""
        return self.extents[-1].total_bytes - self.extents[-1].good_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedLog:
    """A verified, durable log. cut_bytes: size of the torn tail that was cut."""

    state: LogState
    cut_bytes: int


def _unseen(path: Path, record: Record) -> None:
    """Do nothing (the default of `seen`)."""


def open_log_files(folder: Path, identity: LogIdentity, watermark: Watermark, applied_seq: Seq) -> OpenedLog:
    """Verify the log in `folder`, cut a torn tail and make the rest durable.

    Raises DataLoss naming file, offset and seq; PreconditionFailed for a newer format or another cluster's or replica's
    log; StorageFailed when the disk refuses.
    """
    try:
        remove_temporaries(folder)
    except OSError as error:
        raise read_failure(error, str(folder)) from error
    verified = verify_log_files(folder, identity, watermark, applied_seq)
    path, extent = verified.files[-1].path, verified.extents[-1]
    if extent.proven_bytes == extent.total_bytes:
        return OpenedLog(state=verified.state, cut_bytes=0)
    try:
        fault_point("log.cut")
        make_tail_durable(path, extent.proven_bytes, extent.good_bytes)
    except OSError as error:
        raise write_failure(error, str(path)) from error
    return OpenedLog(state=verified.state, cut_bytes=verified.torn_bytes)


def verify_log_files(
    folder: Path, identity: LogIdentity, watermark: Watermark, applied_seq: Seq, seen: Callable[[Path, Record], None] = _unseen
) -> VerifiedLog:
    """Read the log in `folder` to its end and check everything in it; nothing is changed.

    seen: called with each good record and its file, in order. Raises as open_log_files, and what `seen` raises.
    """
    paths = _paths(folder)
    chain = _Chain(identity=identity, watermark=watermark, applied_seq=applied_seq, seen=seen)
    extents = tuple(chain.add(path, is_last=path == paths[-1]) for path in paths)
    return VerifiedLog(files=tuple(chain.files), extents=extents, places=tuple(chain.places), end=chain.end, term_starts=chain.term_starts)


class _Chain:
    """The files verified so far, joined in order."""

    def __init__(self, *, identity: LogIdentity, watermark: Watermark, applied_seq: Seq, seen: Callable[[Path, Record], None]) -> None:
        self._identity, self._seen = identity, seen
        self._watermark = watermark
        self._applied_seq = applied_seq
        self.files: list[LogFile] = []
        self.places: list[Places] = []
        self.end = ChainEnd(term=Term(0), seq=Seq(0), crc=0)
        self.term_starts: dict[Term, Seq] = {}

    def add(self, path: Path, *, is_last: bool) -> Extent:
        """Verify one file against the chain. Raises as open_log_files."""
        try:
            return self._add(path, is_last=is_last)
        except OSError as error:
            raise read_failure(error, str(path)) from error

    def _add(self, path: Path, *, is_last: bool) -> Extent:
        with path.open("rb") as stream:
            file = read_log_file(path, stream, self._identity)
            self._join(file)
            good = proven = noted = file.header_bytes
            for frame in walk_frames(stream, file.before, self._identity.seed):
                good += frame.size_bytes
                proven = good if frame.record.seq <= self._watermark.seq else proven
                self._take(path, frame)
                if good - noted >= SPACING_BYTES:
                    self.places[-1].note(RecordBorder(end=self.end, offset=good))
                    noted = good
            total = os.fstat(stream.fileno()).st_size
            if good < total or is_last:
                stream.seek(good)
                self._judge(path, good, broken=good < total, valid_behind=not is_last or holds_frame(stream.read(), self._identity.seed))
        return Extent(proven_bytes=proven, good_bytes=good, total_bytes=total)

    def _join(self, file: LogFile) -> None:
        if not self.files:
            self._check_beginning(file)
        elif file.before != self.end:
            raise DataLoss(f"{file.path} continues seq {file.before.seq}, the log before it ends with {self.end.seq}: a file is missing")
        self.files.append(file)
        self.places.append(Places(file))
        self.end = file.before
        self._check_witness(file.path, file.before)

    def _check_beginning(self, file: LogFile) -> None:
        if file.first_seq > self._watermark.kept_from:
            raise DataLoss(
                f"the log begins with {file.path}, but seq {self._watermark.kept_from} and later were never trimmed: a file is missing"
            )
        if file.before.seq > self._applied_seq:
            raise DataLoss(f"the log begins with {file.path}, but the store needs the records from seq {self._applied_seq + 1} on")

    def _take(self, path: Path, frame: Frame) -> None:
        self.term_starts.setdefault(frame.record.term, frame.record.seq)
        self.end = end_of(frame)
        self._check_witness(path, self.end)
        self._seen(path, frame.record)

    def _check_witness(self, path: Path, end: ChainEnd) -> None:
        if end.seq == self._watermark.seq and end.crc != self._watermark.crc:
            raise DataLoss(f"{path}: the crc of record {end.seq} is not the one in the watermark")

    def _judge(self, path: Path, offset: int, *, broken: bool, valid_behind: bool) -> None:
        facts = TailFacts(
            last_seq=self.end.seq,
            broken=broken,
            valid_behind=valid_behind,
            watermark_seq=self._watermark.seq,
            applied_seq=self._applied_seq,
        )
        verdict = judge_tail(facts)
        if isinstance(verdict, Damaged):
            raise DataLoss(f"{path} at offset {offset}, seq {self.end.seq + 1}: {verdict.reason}")


def _paths(folder: Path) -> list[Path]:
    try:
        paths = log_paths(folder)
    except OSError as error:
        raise read_failure(error, str(folder)) from error
    if not paths:
        raise DataLoss(f"{folder} holds no file of the log")
    return paths
