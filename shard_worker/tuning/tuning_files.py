"""What one replica has learnt of its searches, on disk: a sample of real queries and the measured recall of its
segments.

Knowledge that can be gathered again: a file that is missing or damaged is ignored with a line in the log, one that
cannot be written too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import DataLoss, ShoalError
from shoal.runtime.logs import event
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.logic.tuning.tuning_plan import Standing
from shoal.shard_worker.storage.derived_file import read_derived, write_derived
from shoal.shard_worker.tuning.query_kinds import QueryKinds
from shoal.shard_worker.tuning.tuning_record import tuning_from_json, tuning_to_json

log = logging.getLogger("shoal.worker.tuning")

QUERIES_FILE, KINDS_FILE, TABLES_FILE = "queries", "kinds", "recall"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learnt:
    """A measurement and its circumstances: as in Standing."""

    tuning: Tuning
    held: int
    taken: int
    took_s: float
    kinds: int = 0
    brief: bool = False

    def standing(self, *, at_s: float) -> Standing:
        """The measurement, made or read at at_s."""
        return Standing(
            real=self.tuning.real,
            held=self.held,
            taken=self.taken,
            at_s=at_s,
            took_s=self.took_s,
            kinds=self.kinds,
            brief=self.brief,
        )


class TuningFiles:
    """The files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load_queries(self, into: QueryKinds) -> None:
        """Hold the queries that were saved."""
        for name, restore in ((QUERIES_FILE, into.restore), (KINDS_FILE, into.restore_kinds)):
            try:
                data = read_derived(self._folder / name)
                if data is not None:
                    restore(data)
            except ShoalError as error:
                log.warning(event("tuning_not_read", file=self._folder / name, reason=error.message))

    def load_tables(self) -> dict[str, Learnt]:
        """The measurements that were saved, by segment name."""
        try:
            data = read_derived(self._folder / TABLES_FILE)
            return {} if data is None else _tables(data)
        except ShoalError as error:
            log.warning(event("tuning_not_read", file=self._folder / TABLES_FILE, reason=error.message))
            return {}

    def save(self, queries: tuple[bytes, bytes], tables: Mapping[str, Learnt]) -> None:
        """Replace all. queries: of QueryKinds.to_bytes."""
        try:
            write_derived(self._folder / QUERIES_FILE, queries[0])
            write_derived(self._folder / KINDS_FILE, queries[1])
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
