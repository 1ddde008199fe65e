"""Turns domain values into the JSON texts that the store keeps, and back.

A text that cannot be read raises DataLoss; no part of it is guessed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from shoal.core.cluster_map import LeaderEntry, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState, check_min_isr, check_recall
from shoal.core.errors import DataLoss, InvalidArgument
from shoal.core.fusion_choice import defaults_to_input, search_defaults_from_input
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.index_spec import index_from_input
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.recovery import AuditEntry, LogEnd, Recovery, ReplicaPlace
from shoal.core.shard_calls import DEFAULT_RECALL
from shoal.core.shard_config import Move, ShardConfig, ShardState
from shoal.core.slots import SlotRange
from shoal.core.text_fields import options_to_input, text_fields_from_input

T = TypeVar("T")

_MOST_PORT = 65_535


def encode_collection(collection: Collection) -> bytes:
    """Return a collection as stored."""
    spec = collection.spec
    named = {"vectors": [_from_vector(each) for each in spec.vectors]} if spec.vectors else {}
    return text_of(
        {
            **named,
            "id": collection.id,
            "name": spec.name,
            "dim": spec.dim,
            "metric": spec.metric,
            "shards": spec.shards,
            "replicas": spec.replicas,
            "index": spec.index,
            "recall": spec.recall,
            "min_isr": spec.min_isr_set,
            "text": {field.name: options_to_input(field.analyzer) for field in spec.text},
            "defaults": defaults_to_input(spec.defaults),
            "state": collection.state,
            "request_id": collection.request_id,
        }
    )


def decode_collection(key: str, value: bytes, revision: int) -> Collection:
    """Return a collection from its text. revision: the modification revision of its key. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> Collection:
        # A collection from before there were text fields has none of either.
        text = text_fields_from_input(raw.get("text", {}))
        return Collection(
            id=CollectionId(raw["id"]),
            spec=CollectionSpec(
                name=raw["name"],
                dim=raw["dim"],
                metric=Metric(raw["metric"]),
                shards=raw["shards"],
                replicas=raw["replicas"],
                index=index_from_input(raw["index"], dim=raw["dim"]),
                recall=_recall(raw),
                min_isr_set=_min_isr(raw),
                text=text,
                defaults=search_defaults_from_input(raw.get("defaults", {}), [field.name for field in text]),
                # Only a collection with named vectors has them.
                vectors=tuple(map(_to_vector, raw.get("vectors", ()))),
            ),
            state=CollectionState(raw["state"]),
            request_id=raw["request_id"],
            revision=Revision(revision),
        )

    return decoded(key, value, build)


def _from_vector(vector: NamedVector) -> dict[str, Any]:
    return {"name": vector.name, "dim": vector.dim, "metric": vector.metric, "index": vector.index}


def _to_vector(raw: dict[str, Any]) -> NamedVector:
    name, dim = raw["name"], raw["dim"]
    if not (type(name) is str and name and type(dim) is int and dim > 0):
        raise ValueError(f"vector {name!r} of {dim!r} dimensions")
    return NamedVector(name=name, dim=dim, metric=Metric(raw["metric"]), index=index_from_input(raw["index"], dim=dim))


def _recall(raw: dict[str, Any]) -> float:
    # A collection from before recall targets could be set has none.
    recall = raw.get("recall", DEFAULT_RECALL)
    check_recall(recall)
    return float(recall)


def _min_isr(raw: dict[str, Any]) -> int:
    # A collection from before min_isr could be chosen has none.
    min_isr = raw.get("min_isr", 0)
    check_min_isr(min_isr, raw["replicas"])
    return int(min_isr)


def encode_shard(config: ShardConfig) -> bytes:
    """Return a shard configuration as stored."""
    moving = {} if config.move is None else {"move": [config.move.source, config.move.target]}
    handing_over = {} if config.successor is None else {"successor": config.successor}
    return text_of(
        {
            **config.unknown,
            **moving,
            **handing_over,
            "term": config.term,
            "primary": config.primary,
            "primary_reg": config.primary_reg,
            "isr": config.isr,
            "elr": config.elr,
            "learners": config.learners,
            "worker_of": dict(config.worker_of),
            "min_isr": config.min_isr,
            "rf": config.rf,
            "state": config.state,
            "slots": [[part.start, part.end] for part in config.slots],
            "leaving": config.leaving,
        }
    )


def decode_shard(shard: ShardId, key: str, value: bytes) -> ShardConfig:
    """Return a shard configuration from its text. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> ShardConfig:
        return ShardConfig(
            shard=shard,
            term=Term(raw["term"]),
            primary=ReplicaId(raw["primary"]),
            primary_reg=Revision(raw["primary_reg"]),
            isr=tuple(ReplicaId(each) for each in raw["isr"]),
            elr=tuple(ReplicaId(each) for each in raw["elr"]),
            learners=tuple(ReplicaId(each) for each in raw["learners"]),
            worker_of={ReplicaId(replica): WorkerId(worker) for replica, worker in raw["worker_of"].items()},
            min_isr=raw["min_isr"],
            rf=raw["rf"],
            state=ShardState(raw["state"]),
            slots=tuple(SlotRange(start, end) for start, end in raw["slots"]),
            leaving=tuple(ReplicaId(each) for each in raw.get("leaving", ())),
            move=_to_move(raw.get("move")),
            successor=None if raw.get("successor") is None else ReplicaId(raw["successor"]),
            unknown={name: kept for name, kept in raw.items() if name not in _SHARD_FIELDS},
        )

    return decoded(key, value, build)


_SHARD_FIELDS = frozenset(each.name for each in dataclasses.fields(ShardConfig))


def _to_move(raw: Any) -> Move | None:
    if raw is None:
        return None
    source, target = raw
    return Move(source=ReplicaId(source), target=ReplicaId(target))


def encode_worker(worker: WorkerEntry) -> bytes:
    """Return a worker's registration as stored."""
    return text_of(
        {
            "id": worker.id,
            "address": worker.address,
            "incarnation": worker.incarnation,
            "pid": worker.pid,
            "node": worker.node,
            "zone": worker.zone,
            "memory_budget_bytes": worker.memory_budget_bytes,
            "file_budget": worker.file_budget,
            "replica_files": worker.replica_files,
            "http_port": worker.http_port,
            "disk_bytes": worker.disk_bytes,
            "features": sorted(worker.features),
            "started_ms": worker.started_ms,
        }
    )


def decode_worker(key: str, value: bytes, registration: int) -> WorkerEntry:
    """Return a worker's registration from its text. registration: modification revision of its key. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> WorkerEntry:
        return WorkerEntry(
            id=WorkerId(raw["id"]),
            address=raw["address"],
            incarnation=raw["incarnation"],
            pid=raw["pid"],
            node=raw["node"],
            zone=raw["zone"],
            memory_budget_bytes=int(raw.get("memory_budget_bytes", 0)),
            file_budget=int(raw.get("file_budget", 0)),
            replica_files=int(raw.get("replica_files", 0)),
            # A worker of an older version has none.
            http_port=_port(raw.get("http_port", 0)),
            disk_bytes=int(raw.get("disk_bytes", 0)),
            features=frozenset(map(str, raw.get("features", ()))),
            started_ms=int(raw.get("started_ms", 0)),
            registration=Revision(registration),
        )

    return decoded(key, value, build)


def _port(port: Any) -> int:
    if not (type(port) is int and 0 <= port <= _MOST_PORT):
        raise ValueError(f"port {port!r}")
    return port


def encode_leader(address: str) -> bytes:
    """Return the leading coordinator as stored."""
    return text_of({"address": address})


def decode_leader(key: str, value: bytes, created: int) -> LeaderEntry:
    """Return the leading coordinator from its text. created: creation revision of its key. Raises DataLoss."""
    return decoded(key, value, lambda raw: LeaderEntry(address=raw["address"], created=Revision(created)))


def encode_audit(entry: AuditEntry) -> bytes:
    """Return an entry of the audit as stored."""
    return text_of(
        {
            **({} if entry.recovery is None else _from_recovery(entry.recovery)),
            "time_ms": entry.time_ms,
            "action": entry.action,
            "collection": entry.collection,
            "reason": entry.reason,
            "asked_by": entry.asked_by,
            "request_id": entry.request_id,
            "subject": entry.subject,
        }
    )


def decode_audit(key: str, value: bytes) -> AuditEntry:
    """Return an entry of the audit from its text. Raises DataLoss."""

    def build(raw: dict[str, Any]) -> AuditEntry:
        return AuditEntry(
            time_ms=raw["time_ms"],
            action=raw["action"],
            collection=raw["collection"],
            recovery=_to_recovery(raw) if "shard" in raw else None,
            reason=raw["reason"],
            asked_by=raw["asked_by"],
            request_id=raw["request_id"],
            # An entry from before there were plans has none.
            subject=raw.get("subject", ""),
        )

    return decoded(key, value, build)


def _from_recovery(recovery: Recovery) -> dict[str, Any]:
    return {
        "shard": [recovery.shard.collection, recovery.shard.number],
        "term": recovery.term,
        "chosen": _from_place(recovery.chosen),
        "given_up": [_from_place(each) for each in recovery.given_up],
    }


def _to_recovery(raw: dict[str, Any]) -> Recovery:
    collection, number = raw["shard"]
    return Recovery(
        shard=ShardId(CollectionId(collection), number),
        term=Term(raw["term"]),
        chosen=_to_place(raw["chosen"]),
        given_up=tuple(map(_to_place, raw["given_up"])),
    )


def _from_place(place: ReplicaPlace) -> dict[str, Any]:
    end = None if place.end is None else [place.end.term, place.end.seq]
    return {"replica": place.replica, "worker": place.worker, "role": place.role, "end": end}


def _to_place(raw: dict[str, Any]) -> ReplicaPlace:
    end = None if raw["end"] is None else LogEnd(term=Term(raw["end"][0]), seq=Seq(raw["end"][1]))
    return ReplicaPlace(replica=ReplicaId(raw["replica"]), worker=WorkerId(raw["worker"]), role=raw["role"], end=end)


def text_of(value: dict[str, Any]) -> bytes:
    """Return a value as stored."""
    return json.dumps(value, sort_keys=True).encode("utf-8")


def decoded(key: str, value: bytes, build: Callable[[dict[str, Any]], T]) -> T:
    """Return what `build` makes of a stored value. Raises DataLoss."""
    try:
        return build(json.loads(value))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidArgument) as error:
        raise DataLoss(f"the store's key {key} holds no readable value ({type(error).__name__}: {error})") from None
