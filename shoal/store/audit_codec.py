"""Audit entries as the JSON texts that lie in the store, and back.

Text that is no such entry is DataLoss, never a guess.
"""

from __future__ import annotations

import json
from typing import Any

from shoal.core.errors import DataLoss
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import AuditEntry, LogEnd, Recovery, ReplicaPlace


def encode_audit(entry: AuditEntry) -> bytes:
    """An entry as stored."""
    recovery = entry.recovery
    text = {
        "time_ms": entry.time_ms,
        "action": entry.action,
        "collection": entry.collection,
        "shard": [recovery.shard.collection, recovery.shard.number],
        "term": recovery.term,
        "chosen": _from_place(recovery.chosen),
        "given_up": [_from_place(each) for each in recovery.given_up],
        "reason": entry.reason,
        "asked_by": entry.asked_by,
        "request_id": entry.request_id,
    }
    return json.dumps(text, sort_keys=True).encode("utf-8")


def decode_audit(key: str, value: bytes) -> AuditEntry:
    """An entry from its text. Raises DataLoss."""
    try:
        raw = json.loads(value)
        collection, number = raw["shard"]
        return AuditEntry(
            time_ms=raw["time_ms"],
            action=raw["action"],
            collection=raw["collection"],
            recovery=Recovery(
                shard=ShardId(CollectionId(collection), number),
                term=Term(raw["term"]),
                chosen=_to_place(raw["chosen"]),
                given_up=tuple(map(_to_place, raw["given_up"])),
            ),
            reason=raw["reason"],
            asked_by=raw["asked_by"],
            request_id=raw["request_id"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"the store's key {key} holds no readable value ({type(error).__name__}: {error})") from None


def _from_place(place: ReplicaPlace) -> dict[str, Any]:
    end = None if place.end is None else [place.end.term, place.end.seq]
    return {"replica": place.replica, "worker": place.worker, "role": place.role, "end": end}


def _to_place(raw: dict[str, Any]) -> ReplicaPlace:
    end = None if raw["end"] is None else LogEnd(term=Term(raw["end"][0]), seq=Seq(raw["end"][1]))
    return ReplicaPlace(replica=ReplicaId(raw["replica"]), worker=WorkerId(raw["worker"]), role=raw["role"], end=end)
