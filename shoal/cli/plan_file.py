"""A plan of moves as the JSON document of `shoal rebalance plan`, and back. Nothing of a bad document is guessed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from shoal.cli import output
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId, WorkerId
from shoal.core.rebalance import PinnedShard, PlanKind, PlannedHandOver, PlannedMove, RebalancePlan, WorkerBalance
from shoal.core.shown import shown

MOST_BYTES = 32 * 1024 * 1024
"""Most bytes of a file: what a message may hold."""

_UINT64_MAX = 2**64 - 1
_UINT32_MAX = 2**32 - 1


def document_of(plan: RebalancePlan) -> dict[str, Any]:
    """Return a plan as a JSON document."""
    return {
        "plan": plan.id,
        "kind": plan.kind.value,
        "subject": plan.subject,
        "cluster": plan.cluster,
        "revision": plan.revision,
        "fingerprint": plan.fingerprint,
        "tolerance": plan.tolerance,
        "replicas": plan.replicas,
        "workers": [_worker(each) for each in plan.workers],
        "moves": [{**_item(each), "memory": each.memory_bytes, "disk": each.disk_bytes, "why": each.why} for each in plan.moves],
        "hand_overs": [_item(each) for each in plan.hand_overs],
        "bytes": plan.bytes,
        "least_bytes": plan.least_bytes,
        "seconds": plan.seconds,
        "pinned": [
            {"shard": f"{each.collection}/{each.shard.number}", "collection_id": each.shard.collection, "why": each.why}
            for each in plan.pinned
        ],
        "left": list(plan.left),
    }


def _worker(each: WorkerBalance) -> dict[str, Any]:
    return {
        "id": each.worker,
        "zone": each.zone,
        "capacity": each.capacity_bytes,
        "bytes": each.bytes,
        "target": each.target_bytes,
        "after": each.after_bytes,
        "primaries": each.primaries,
        "primaries_after": each.primaries_after,
        "in": each.in_bytes,
        "out": each.out_bytes,
        "draining": each.draining,
    }


def _item(each: PlannedMove | PlannedHandOver) -> dict[str, Any]:
    return {
        "n": each.number,
        "collection": each.collection,
        "collection_id": each.shard.collection,
        "shard": each.shard.number,
        "from": each.source,
        "to": each.target,
    }


def write_plan(path: Path, plan: RebalancePlan) -> None:
    """Write a plan into a file, which has its name only when it is whole."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(f"{output.json_text(document_of(plan))}\n", encoding="utf-8")
    os.replace(unfinished, path)


def read_plan(path: Path) -> RebalancePlan:
    """Return the plan of a file. Raises InvalidArgument that names the file, the place and what is allowed there."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise _bad(path, f"has more than {MOST_BYTES:,} bytes, so it is no plan")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _bad(path, "is no JSON document; `shoal rebalance plan -o FILE` writes one") from None
    return _PlanPlace(path, "", document).plan()


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _bad(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument(f"{path} {why}", ErrorDetails(field="plan"))


class _PlanPlace:
    """A value in the document of a file, and where it stands there."""

    def __init__(self, path: Path, where: str, value: Any) -> None:
        self._path, self._where, self._value = path, where, value

    def plan(self) -> RebalancePlan:
        kind = self._at("kind").text()
        if kind not in [each.value for each in PlanKind if each is not PlanKind.UNKNOWN]:
            raise self._at("kind")._wrong("the kind of a plan")
        return RebalancePlan(
            id=self._at("plan").text(),
            kind=PlanKind(kind),
            subject=self._at("subject").text(),
            cluster=ClusterId(self._at("cluster").text()),
            revision=Revision(self._at("revision").count()),
            fingerprint=self._at("fingerprint").text(),
            tolerance=self._at("tolerance").amount(),
            replicas=self._at("replicas").count(_UINT32_MAX),
            workers=tuple(each.worker() for each in self._at("workers").each()),
            moves=tuple(each.move() for each in self._at("moves").each()),
            hand_overs=tuple(each.hand_over() for each in self._at("hand_overs").each()),
            bytes=self._at("bytes").count(),
            least_bytes=self._at("least_bytes").count(),
            seconds=self._at("seconds").amount(),
            pinned=tuple(each.pinned() for each in self._at("pinned").each()),
            left=tuple(each.text() for each in self._at("left").each()),
        )

    def worker(self) -> WorkerBalance:
        return WorkerBalance(
            worker=WorkerId(self._at("id").text()),
            zone=self._at("zone").text(),
            capacity_bytes=self._at("capacity").count(),
            bytes=self._at("bytes").count(),
            target_bytes=self._at("target").count(),
            after_bytes=self._at("after").count(),
            primaries=self._at("primaries").count(_UINT32_MAX),
            primaries_after=self._at("primaries_after").count(_UINT32_MAX),
            in_bytes=self._at("in").count(),
            out_bytes=self._at("out").count(),
            draining=self._at("draining").flag(),
        )

    def move(self) -> PlannedMove:
        return PlannedMove(
            **self._item(), memory_bytes=self._at("memory").count(), disk_bytes=self._at("disk").count(), why=self._at("why").text()
        )

    def hand_over(self) -> PlannedHandOver:
        return PlannedHandOver(**self._item())

    def pinned(self) -> PinnedShard:
        collection, slash, number = self._at("shard").text().rpartition("/")
        if not slash or not (number.isascii() and number.isdigit()) or len(number) > 10:
            raise self._at("shard")._wrong("a shard, as in fashion/0")
        shard = ShardId(CollectionId(self._at("collection_id").text()), int(number))
        return PinnedShard(collection=collection, shard=shard, why=self._at("why").text())

    def _item(self) -> dict[str, Any]:
        return {
            "number": self._at("n").count(_UINT32_MAX),
            "collection": self._at("collection").text(),
            "shard": ShardId(CollectionId(self._at("collection_id").text()), self._at("shard").count(_UINT32_MAX)),
            "source": WorkerId(self._at("from").text()),
            "target": WorkerId(self._at("to").text()),
        }

    def text(self) -> str:
        if not isinstance(self._value, str):
            raise self._wrong("a text")
        return self._value

    def count(self, most: int = _UINT64_MAX) -> int:
        if isinstance(self._value, bool) or not isinstance(self._value, int) or not 0 <= self._value <= most:
            raise self._wrong(f"a whole number from 0 to {most}")
        return self._value

    def amount(self) -> float:
        if isinstance(self._value, bool) or not isinstance(self._value, (int, float)) or not 0 <= self._value < math.inf:
            raise self._wrong("a number of at least 0")
        return float(self._value)

    def flag(self) -> bool:
        if not isinstance(self._value, bool):
            raise self._wrong("true or false")
        return self._value

    def each(self) -> list[_PlanPlace]:
        if not isinstance(self._value, list):
            raise self._wrong("a list")
        return [_PlanPlace(self._path, f"{self._where}[{at}]", value) for at, value in enumerate(self._value)]

    def _at(self, key: str) -> _PlanPlace:
        where = f"{self._where}.{key}" if self._where else key
        if not isinstance(self._value, dict):
            raise self._wrong("an object")
        if key not in self._value:
            raise _bad(self._path, f"is no plan of `shoal rebalance plan`: {where} is missing")
        return _PlanPlace(self._path, where, self._value[key])

    def _wrong(self, allowed: str) -> InvalidArgument:
        what = f"{self._where or 'it'} is {shown(self._value)}, it must be {allowed}"
        return _bad(self._path, f"is no plan of `shoal rebalance plan`: {what}")
