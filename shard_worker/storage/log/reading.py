"""Reads records back from the files of an open log, with one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import Seq
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.storage.failure import read_failure
from shoal.shard_worker.storage.log.file import end_of, walk_frames
from shoal.shard_worker.storage.log.frame import Frame
from shoal.shard_worker.storage.log.places import SPACING_BYTES, RecordBorder
from shoal.shard_worker.storage.log.state import LogPart, LogState


def read_frames(state: LogState, seed: int, *, from_seq: Seq, was_cut: Callable[[], bool]) -> Generator[Frame, None, None]:
    """Yield the frames of `state` from from_seq to its end.

    was_cut: returns whether the log's end was cut since it was in `state`. Raises PreconditionFailed if from_seq
    precedes the first file, or (while iterating) if a needed record was trimmed or cut meanwhile; DataLoss (while
    iterating) if a record is no longer readable.
    """
    first_seq = state.parts[0].file.first_seq
    if from_seq < first_seq:
        raise PreconditionFailed(f"the log begins with seq {first_seq}, seq {from_seq} is trimmed")
    return _frames(state, seed, from_seq, was_cut)


def read_group(frames: Iterable[Frame], max_bytes: int) -> tuple[Record, ...]:
    """Return the records of the first frames: at least one if possible, then as many as fit into max_bytes.

    The size of a record is that of its frame.
    """
    records: list[Record] = []
    size = 0
    for frame in frames:
        size += frame.size_bytes
        if records and size > max_bytes:
            break
        records.append(frame.record)
        if size >= max_bytes:
            break
    return tuple(records)


def place_behind(part: LogPart, seed: int, seq: Seq) -> RecordBorder:
    """Return the border after the record `seq` of this file, or the file's first border if `seq` precedes the file.

    Raises DataLoss, StorageFailed.
    """
    if seq == part.file.before.seq:
        return part.places.before(seq)
    with closing(_frames_of(part, seed, seq, seq)) as found:
        frame, offset = next(found)
    return RecordBorder(end=end_of(frame), offset=offset)


def _frames(state: LogState, seed: int, from_seq: Seq, was_cut: Callable[[], bool]) -> Generator[Frame, None, None]:
    try:
        for part, last in state.parts_with(from_seq):
            with closing(_frames_of(part, seed, from_seq, last)) as found:
                for frame, _ in found:
                    yield frame
    except DataLoss as error:
        if was_cut():
            raise PreconditionFailed(f"the end of the log was cut during a read: {error.message}") from None
        raise


def _frames_of(part: LogPart, seed: int, from_seq: Seq, last: Seq) -> Generator[tuple[Frame, int], None, None]:
    """Yield the frames from_seq..last of one file, each with the offset of its end."""
    place = part.places.before(from_seq)
    seq, offset = place.end.seq, place.offset
    try:
        with part.file.path.open("rb") as stream:
            stream.seek(offset)
            for frame in walk_frames(stream, place.end, seed):
                seq, offset = frame.record.seq, offset + frame.size_bytes
                if offset - place.offset >= SPACING_BYTES:
                    place = RecordBorder(end=end_of(frame), offset=offset)
                    part.places.note(place)
                if seq >= from_seq:
                    yield frame, offset
                if seq >= last:
                    return
    except FileNotFoundError:
        raise PreconditionFailed(f"{part.file.path} was trimmed during a read") from None
    except OSError as error:
        raise read_failure(error, str(part.file.path)) from error
    raise DataLoss(f"{part.file.path} at offset {offset}, seq {seq + 1}: the record is no longer readable")
