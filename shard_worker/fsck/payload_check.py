"""Checks the payload index of a sealed segment against the payloads in the store.

Queries the index for every field of every live row and for each value of the field; the returned rows must be the rows
that hold them. Bounded: of a field with very many values, only the first ones found are queried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from shoal.core.filter import Exists, In, Path, Scalar
from shoal.core.filter_truth import kind_of, values_of
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import payload_from_json
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.payload.matched import PayloadPart
from shoal.shard_worker.storage.store.inspection import StoredPoint

MOST_VALUES = 1_000
"""Most different values of a field that are queried."""

MOST_FIELDS = 1_000

DEFECT = "filters would answer wrongly: report it; to have the index built again, delete the segment's files while the worker is stopped"

_NO_MEMBER: tuple[None, None] = (None, None)

_Key = tuple[str, Scalar]
"""A value with its kind, so that True is not 1."""


class PayloadCheck:
    """Checks one payload index: call `see` with all points of the segment, then `finish`."""

    def __init__(self, path: FilePath, payloads: PayloadPart, findings: Findings) -> None:
        self._path, self._payloads, self._findings = path, payloads, findings
        self._live = BitMap()
        self._fields: dict[Path, BitMap] = {}
        self._values: dict[Path, dict[_Key, BitMap]] = {}

    def see(self, points: Sequence[StoredPoint], positions: npt.NDArray[np.int64]) -> None:
        """Take points that the segment holds at `positions` (n,)."""
        for point, position in zip(points, positions.tolist(), strict=True):
            self._live.add(position)
            if point.payload is not None:
                for path, occurrence in fields_of(payload_from_json(point.payload) or {}):
                    self._take(path, occurrence, position)

    def finish(self) -> None:
        """Query the index and note where it is wrong."""
        ids: npt.NDArray[np.int64] = np.zeros(len(self._payloads), dtype=np.int64)
        for path, holders in self._fields.items():
            self._compare(f"field {'.'.join(path)}", Exists(path), holders, ids)
            for (_, value), rows in self._values[path].items():
                self._compare(f"field {'.'.join(path)} = {json.dumps(value)[:60]}", In(path, (value,)), rows, ids)

    def _take(self, path: Path, occurrence: Any, position: int) -> None:
        if path not in self._fields:
            if len(self._fields) >= MOST_FIELDS:
                return
            self._fields[path], self._values[path] = BitMap(), {}
        self._fields[path].add(position)
        known = self._values[path]
        for value in values_of(occurrence):
            key = (kind_of(value), value)
            if key in known or len(known) < MOST_VALUES:
                known.setdefault(key, BitMap()).add(position)

    def _compare(self, position: str, test: Exists | In, holders: BitMap, ids: npt.NDArray[np.int64]) -> None:
        matched = self._payloads.match(test, ids)
        missed = holders - (matched.sure | matched.unsure)
        invented = (matched.sure & self._live) - holders
        if missed or invented:
            self._findings.damage(
                self._path,
                position,
                f"the payload index misses {len(missed)} rows that hold it and names {len(invented)} that do not",
                DEFECT,
            )


def fields_of(payload: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield every field of a payload with its value, as shoal.core.filter_truth does; a field may come several times.

    Paths have at most as many keys as a filter may name; deeper fields cannot be queried.
    """
    waiting: list[tuple[Path, Iterator[tuple[str, Any]]]] = [((), iter(payload.items()))]
    while waiting:
        prefix, members = waiting[-1]
        key, found = next(members, _NO_MEMBER)
        if key is None:
            waiting.pop()
            continue
        path = (*prefix, key)
        yield path, found
        if len(path) < DEFAULT_LIMITS.filter_path_keys:
            inner = found if isinstance(found, list) else [found]
            waiting += [(path, iter(each.items())) for each in reversed(inner) if isinstance(each, dict)]
