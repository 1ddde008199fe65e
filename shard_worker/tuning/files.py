"""What one replica has learnt about its searches, in memory and on disk: samples of real queries, and the measured
recall of its segments.

This can be learnt again. So a missing file is no error. A file that is damaged (by its own crc32c) or cannot be written
only gives a line in the log.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import DataLoss, ShoalError
from shoal.runtime.logs import event
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.tuning.plan import Standing
from shoal.shard_worker.storage.checksum import crc32c
from shoal.shard_worker.storage.durable import make_folder, write_durably
from shoal.shard_worker.storage.failure import read_failure, write_failure
from shoal.shard_worker.tuning.measuring import fits
from shoal.shard_worker.tuning.query_kinds import QueryKinds
from shoal.shard_worker.tuning.record import tuning_from_json, tuning_to_json

log = logging.getLogger("shoal.worker.tuning")

QUERIES_FILE, KINDS_FILE, GIVEN_FILE, TABLES_FILE = "queries", "kinds", "given", "recall"

_HEAD = struct.Struct("<8sII")
_MAGIC = b"SHOALDRV"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learnt:
    """A measurement and its circumstances; the other fields as in Standing."""

    tuning: Tuning
    held: int
    taken: int
    took_s: float
    kinds: int = 0
    brief: bool = False

    def standing(self, *, at_s: float) -> Standing:
        """Return the measurement as a Standing. at_s: when it was made or read."""
        return Standing(
            real=self.tuning.real,
            held=self.held,
            taken=self.taken,
            at_s=at_s,
            took_s=self.took_s,
            kinds=self.kinds,
            brief=self.brief,
        )


class MeasuredSegments:
    """What is known of the segments of one replica, by name. tables: measurements that the file holds."""

    def __init__(self) -> None:
        self.tables: dict[str, Learnt] = {}
        self._standings: dict[str, Standing] = {}
        self._resting: dict[str, float] = {}

    def standing(self, name: str) -> Standing | None:
        """Return the last measurement; None when it was not measured, or not restored yet."""
        return self._standings.get(name)

    def take(self, name: str, learnt: Learnt, *, now_s: float) -> None:
        """Store a measurement. If it measured nothing, it is not written to the file."""
        self._standings[name] = learnt.standing(at_s=now_s)
        if learnt.tuning.measured:
            self.tables[name] = learnt

    def restore(self, part: SegmentView, *, now_s: float) -> None:
        """Let searches of a segment use its measurement from the file, unless this process has measured it."""
        learnt = self.tables.get(part.name)
        if learnt is None or part.name in self._standings or part.native is None:
            return
        if fits(learnt.tuning, part):
            part.tuning.now = learnt.tuning
            self._standings[part.name] = learnt.standing(at_s=now_s)

    def rest(self, name: str, *, until_s: float) -> None:
        """Note that measuring it has failed, so that it is not measured again before until_s."""
        self._resting[name] = until_s

    def rests(self, name: str, *, now_s: float) -> bool:
        """Return whether it must not be measured yet, because measuring has failed."""
        return self._resting.get(name, 0.0) > now_s

    def has_failed(self, name: str) -> bool:
        """Return whether measuring it has ever failed."""
        return name in self._resting

    def forget_all_but(self, names: Set[str]) -> None:
        """Forget all segments except these."""
        for known in (self.tables, self._standings, self._resting):
            for name in [name for name in known if name not in names]:
                del known[name]


class TuningFiles:
    """The files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load_queries(self, into: QueryKinds) -> None:
        """Restore the saved queries."""
        for name, restore in ((QUERIES_FILE, into.restore), (KINDS_FILE, into.restore_kinds), (GIVEN_FILE, into.restore_given)):
            try:
                data = read_derived(self._folder / name)
                if data is not None:
                    restore(data)
            except ShoalError as error:
                log.warning(event("tuning_not_read", file=self._folder / name, reason=error.message))

    def load_tables(self) -> dict[str, Learnt]:
        """Return the saved measurements, by segment name."""
        try:
            data = read_derived(self._folder / TABLES_FILE)
            return {} if data is None else _tables(data)
        except ShoalError as error:
            log.warning(event("tuning_not_read", file=self._folder / TABLES_FILE, reason=error.message))
            return {}

    def save(self, queries: tuple[bytes, bytes, bytes | None], tables: Mapping[str, Learnt]) -> None:
        """Replace all files. queries: from QueryKinds.to_bytes."""
        try:
            write_derived(self._folder / QUERIES_FILE, queries[0])
            write_derived(self._folder / KINDS_FILE, queries[1])
            if queries[2] is not None:
                write_derived(self._folder / GIVEN_FILE, queries[2])
            write_derived(
                self._folder / TABLES_FILE, json.dumps({name: _record(learnt) for name, learnt in tables.items()}).encode("ascii")
            )
        except ShoalError as error:
            log.warning(event("tuning_not_written", folder=self._folder, reason=error.message))


def _record(learnt: Learnt) -> dict[str, object]:
    counts = {"held": learnt.held, "taken": learnt.taken, "kinds": learnt.kinds}
    return {"tuning": tuning_to_json(learnt.tuning), **counts, "took_s": learnt.took_s, "brief": learnt.brief}


def _tables(data: bytes) -> dict[str, Learnt]:
    try:
        return {
            str(name): Learnt(
                tuning=tuning_from_json(record["tuning"]),
                held=int(record["held"]),
                taken=int(record["taken"]),
                took_s=float(record["took_s"]),
                kinds=int(record.get("kinds", 0)),
                brief=bool(record.get("brief", False)),
            )
            for name, record in json.loads(data).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataLoss(f"measured recalls cannot be read: {type(error).__name__}: {error}") from None


def write_derived(path: Path, data: bytes) -> None:
    """Replace the file `path` as a whole. Raises StorageFailed."""
    try:
        make_folder(path.parent)
        write_durably(path, _HEAD.pack(_MAGIC, _FORMAT, crc32c(data, crc32c(_MAGIC + bytes([_FORMAT])))) + data)
    except OSError as error:
        raise write_failure(error, str(path)) from error


def read_derived(path: Path) -> bytes | None:
    """Return what was written; None when there is no file.

    Raises DataLoss when the file is damaged or of another format; StorageFailed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_failure(error, str(path)) from error
    if len(content) < _HEAD.size:
        raise DataLoss(f"{path} is damaged: it has {len(content)} bytes, its head alone has {_HEAD.size}")
    magic, found, crc = _HEAD.unpack_from(content)
    data = content[_HEAD.size :]
    if magic != _MAGIC or found != _FORMAT or crc != crc32c(data, crc32c(_MAGIC + bytes([_FORMAT]))):
        raise DataLoss(f"{path} is damaged: its head says {magic!r}, format {found}, or its crc does not match")
    return data
