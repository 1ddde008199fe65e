"""Turns plans, settings of balancing and drains into the JSON texts that the store keeps, and back.

A text that cannot be read raises DataLoss; no part of it is guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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
            "plan": dataclasses.asdict(entry.plan),
            "state": entry.state,
            "asked_by": entry.asked_by,
            "started_ms": entry.started_ms,
            "ended_ms": entry.ended_ms,
            "given_up": _by_number(entry.given_up),
            "outcomes": _by_number(entry.outcomes),
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
            given_up={int(number): str(why) for number, why in raw["given_up"].items()},
            outcomes={int(number): ItemState(state) for number, state in raw["outcomes"].items()},
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


def _by_number(texts: Mapping[int, str]) -> dict[str, str]:
    return {str(number): text for number, text in texts.items()}


def _to_plan(raw: dict[str, Any]) -> RebalancePlan:
    return RebalancePlan(
        id=raw["id"],
        kind=PlanKind(raw["kind"]),
        subject=raw["subject"],
        cluster=ClusterId(raw["cluster"]),
        revision=Revision(raw["revision"]),
        fingerprint=raw["fingerprint"],
        tolerance=float(raw["tolerance"]),
        replicas=raw["replicas"],
        workers=tuple(WorkerBalance(**{**each, "worker": WorkerId(each["worker"])}) for each in raw["workers"]),
        moves=tuple(PlannedMove(**_with_ids(each)) for each in raw["moves"]),
        hand_overs=tuple(PlannedHandOver(**_with_ids(each)) for each in raw["hand_overs"]),
        bytes=raw["bytes"],
        least_bytes=raw["least_bytes"],
        seconds=float(raw["seconds"]),
        pinned=tuple(PinnedShard(**{**each, "shard": _to_shard(each["shard"])}) for each in raw["pinned"]),
        left=tuple(raw["left"]),
    )


def _with_ids(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "shard": _to_shard(raw["shard"]), "source": WorkerId(raw["source"]), "target": WorkerId(raw["target"])}


def _to_shard(raw: Any) -> ShardId:
    collection, number = raw
    return ShardId(CollectionId(collection), int(number))
