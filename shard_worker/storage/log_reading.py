"""Reading records back from the files of an open log, one frame in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from shard_worker.logic.record import Record
from shard_worker.storage.failure import read_failure
from shard_worker.storage.log_file import LogFile, walk_frames
from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import Seq


def read_records(files: Sequence[LogFile], seed: int, *, from_seq: Seq, through_seq: Seq) -> Iterator[Record]:
    """Records from_seq..through_seq of `files`, which hold them without a gap.

    Raises PreconditionFailed when from_seq lies before the first file, or when a file was trimmed meanwhile (while iterating);
    DataLoss when a record is no longer readable (while iterating).
    """
    if from_seq < files[0].first_seq:
        raise PreconditionFailed(f"the log begins with seq {files[0].first_seq}, seq {from_seq} is trimmed")
    lasts = [min(following.before.seq, through_seq) for following in files[1:]] + [through_seq]
    wanted = [(file, last) for file, last in zip(files, lasts, strict=True) if last >= max(from_seq, file.first_seq)]
    return itertools.chain.from_iterable(_records_of(file, seed, from_seq, last) for file, last in wanted)


def _records_of(file: LogFile, seed: int, from_seq: Seq, last: Seq) -> Iterator[Record]:
    seq = file.before.seq
    offset = file.header_bytes
    try:
        with file.path.open("rb") as stream:
            stream.seek(offset)
            for frame in walk_frames(stream, file.before, seed):
                seq, offset = frame.record.seq, offset + frame.size_bytes
                if seq >= from_seq:
                    yield frame.record
                if seq >= last:
                    return
    except FileNotFoundError:
        raise PreconditionFailed(f"{file.path} was trimmed while it was to be read") from None
    except OSError as error:
        raise read_failure(error, str(file.path)) from error
    raise DataLoss(f"{file.path} at offset {offset}, seq {seq + 1}: the record is no longer readable")
