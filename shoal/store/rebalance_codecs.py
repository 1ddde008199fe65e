"""Turns plans, settings of balancing and drains into the JSON texts that the store keeps, and back.

A text that cannot be read raises DataLoss; no part of it is guessed. A plan may have thousands of items, and the end of
a plan puts it twice in one transaction. So each text is written once, and its items are rows of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId, WorkerId
from shoal.core.rebalance import (
    BalanceSettings,
    Drain,
    ItemState,
    PinnedShard,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    PlanState,
    RebalanceEntry,
    RebalancePlan,
    WorkerBalance,
)
from shoal.store.codecs import decoded, text_of


def encode_rebalance(entry: RebalanceEntry) -> bytes:
    """Return an applied plan as stored."""
    return text_of(
        {
            "plan": _from_plan(entry.plan),
            "state": entry.state,
            "asked_by": entry.asked_by,
            "started_ms": entry.started_ms,
            "ended_ms": entry.ended_ms,
            "given_up": _by_text(entry.given_up),
            "outcomes": _by_text(entry.outcomes),
            "longest_wait_s": entry.longest_wait_s,
        }
    )


def decode_rebalance(key: str, value: bytes, revision: int) -> RebalanceEntry:
    """Return an applied plan from its text. revision: the modification revision of its key. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> RebalanceEntry:
        return RebalanceEntry(
            plan=_to_plan(raw["plan"]),
            state=PlanState(raw["state"]),
            asked_by=raw["asked_by"],
            started_ms=int(raw["started_ms"]),
            ended_ms=int(raw["ended_ms"]),
            given_up=_by_number(raw["given_up"]),
            outcomes={number: ItemState(state) for number, state in _by_number(raw["outcomes"]).items()},
            longest_wait_s=float(raw.get("longest_wait_s", 0.0)),
            revision=Revision(revision),
        )

    return decoded(key, value, build)


def encode_balance(settings: BalanceSettings) -> bytes:
    """Return the settings of balancing as stored."""
    return text_of(
        {
            "auto": settings.auto,
            "tolerance": settings.tolerance,
            "moves_at_once": settings.moves_at_once,
            "move_bytes_per_s": settings.move_bytes_per_s,
        }
    )


def decode_balance(key: str, value: bytes, revision: int) -> BalanceSettings:
    """Return the settings of balancing from their text. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> BalanceSettings:
        return BalanceSettings(
            auto=bool(raw["auto"]),
            tolerance=float(raw["tolerance"]),
            moves_at_once=int(raw["moves_at_once"]),
            move_bytes_per_s=int(raw["move_bytes_per_s"]),
            revision=Revision(revision),
        )

    return decoded(key, value, build)


def encode_drain(drain: Drain) -> bytes:
    """Return what is said about a worker that is drained, as stored."""
    return text_of({"primaries_only": drain.primaries_only, "asked_by": drain.asked_by, "since_ms": drain.since_ms})


def decode_drain(key: str, value: bytes, revision: int) -> Drain:
    """Return what is said about a worker that is drained. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> Drain:
        return Drain(
            primaries_only=bool(raw["primaries_only"]),
            asked_by=raw["asked_by"],
            since_ms=int(raw["since_ms"]),
            revision=Revision(revision),
        )

    return decoded(key, value, build)


def encode_forgotten(asked_by: str, since_ms: int) -> bytes:
    """Return what is kept of a worker that is forgotten. Only the key counts; the value is for people who read it."""
    return text_of({"asked_by": asked_by, "since_ms": since_ms})


def _by_text(texts: Mapping[int, str]) -> dict[str, list[int]]:
    """Return the numbers of each text, since many items share one."""
    found: dict[str, list[int]] = {}
    for number, text in sorted(texts.items()):
        found.setdefault(str(text), []).append(number)
    return found


def _by_number(raw: dict[str, Any]) -> dict[int, str]:
    texts = {int(number): text for text, numbers in raw.items() for number in numbers}
    return {number: texts[number] for number in sorted(texts)}


class _Texts:
    """The texts of a plan, each once. Rows name them by their place."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.places = {text: place for place, text in enumerate(texts)}

    def place(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))


def _from_plan(plan: RebalancePlan) -> dict[str, Any]:
    texts = _Texts()
    rows = {
        "workers": [_from_balance(each, texts) for each in plan.workers],
        "moves": [[*_from_item(each, texts), each.memory_bytes, each.disk_bytes, texts.place(each.why)] for each in plan.moves],
        "hand_overs": [_from_item(each, texts) for each in plan.hand_overs],
        "pinned": [[*_from_shard(each.collection, each.shard, texts), texts.place(each.why)] for each in plan.pinned],
    }
    return {
        **rows,
        "texts": list(texts.places),
        "id": plan.id,
        "kind": plan.kind,
        "subject": plan.subject,
        "cluster": plan.cluster,
        "revision": plan.revision,
        "fingerprint": plan.fingerprint,
        "tolerance": plan.tolerance,
        "replicas": plan.replicas,
        "bytes": plan.bytes,
        "least_bytes": plan.least_bytes,
        "seconds": plan.seconds,
        "left": list(plan.left),
    }


def _to_plan(raw: dict[str, Any]) -> RebalancePlan:
    texts = dict(enumerate(raw["texts"]))
    return RebalancePlan(
        id=raw["id"],
        kind=PlanKind(raw["kind"]),
        subject=raw["subject"],
        cluster=ClusterId(raw["cluster"]),
        revision=Revision(raw["revision"]),
        fingerprint=raw["fingerprint"],
        tolerance=float(raw["tolerance"]),
        replicas=raw["replicas"],
        workers=tuple(_to_balance(row, texts) for row in raw["workers"]),
        moves=tuple(_to_move(row, texts) for row in raw["moves"]),
        hand_overs=tuple(PlannedHandOver(**_to_item(row, texts)) for row in raw["hand_overs"]),
        bytes=raw["bytes"],
        least_bytes=raw["least_bytes"],
        seconds=float(raw["seconds"]),
        pinned=tuple(PinnedShard(**_to_shard(row, texts), why=texts[row[-1]]) for row in raw["pinned"]),
        left=tuple(raw["left"]),
    )


def _from_shard(collection: str, shard: ShardId, texts: _Texts) -> list[int]:
    return [texts.place(collection), texts.place(shard.collection), shard.number]


def _to_shard(row: Sequence[int], texts: Mapping[int, str]) -> dict[str, Any]:
    collection, id, number = row[:3]
    return {"collection": texts[collection], "shard": ShardId(CollectionId(texts[id]), number)}


def _from_item(item: PlannedMove | PlannedHandOver, texts: _Texts) -> list[int]:
    places = (texts.place(item.source), texts.place(item.target))
    return [*_from_shard(item.collection, item.shard, texts), *places, item.number]


def _to_item(row: Sequence[int], texts: Mapping[int, str]) -> dict[str, Any]:
    source, target, number = row[3:6]
    return {**_to_shard(row, texts), "source": WorkerId(texts[source]), "target": WorkerId(texts[target]), "number": number}


def _to_move(row: Sequence[int], texts: Mapping[int, str]) -> PlannedMove:
    memory_bytes, disk_bytes, why = row[6:]
    return PlannedMove(**_to_item(row, texts), memory_bytes=memory_bytes, disk_bytes=disk_bytes, why=texts[why])


_BALANCE_NUMBERS = (
    "capacity_bytes",
    "bytes",
    "target_bytes",
    "after_bytes",
    "primaries",
    "primaries_after",
    "in_bytes",
    "out_bytes",
)


def _from_balance(worker: WorkerBalance, texts: _Texts) -> list[int]:
    numbers = (getattr(worker, name) for name in _BALANCE_NUMBERS)
    return [texts.place(worker.worker), texts.place(worker.zone), *numbers, int(worker.draining)]


def _to_balance(row: Sequence[int], texts: Mapping[int, str]) -> WorkerBalance:
    worker, zone, *numbers, draining = row
    named = dict(zip(_BALANCE_NUMBERS, numbers, strict=True))
    return WorkerBalance(worker=WorkerId(texts[worker]), zone=texts[zone], draining=bool(draining), **named)
