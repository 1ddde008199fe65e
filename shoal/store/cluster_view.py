"""Builds the ClusterMap from the store's keys: a listing gives a first map, each delta gives the next one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DataLoss
from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId
from shoal.core.rebalance import BalanceSettings
from shoal.core.shard_config import ShardEntry
from shoal.store.codecs import decode_collection, decode_leader, decode_shard, decode_worker
from shoal.store.interface import Delta, Listed, Versioned
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import decode_balance, decode_drain, decode_rebalance


def cluster_map_of(keys: Keys, listed: Listed) -> ClusterMap:
    """Return the map of a listing of the whole cluster prefix. Raises DataLoss for an unreadable value."""
    return _folded(keys, ClusterMap(), listed.entries, (), listed.revision)


def next_cluster_map(keys: Keys, before: ClusterMap, delta: Delta) -> ClusterMap:
    """Return the map after a delta. Raises DataLoss for an unreadable value."""
    return _folded(keys, before, delta.changed, delta.deleted, delta.revision)


def _folded(keys: Keys, before: ClusterMap, changed: Iterable[Versioned], deleted: Iterable[str], revision: int) -> ClusterMap:
    news: dict[str, dict[Any, Any]] = {room: {} for room in _DECODE}
    for entry in changed:
        room, place = _place(keys, entry.key)
        if room in news:
            news[room][place] = _DECODE[room](place, entry)
    for key in deleted:
        try:
            room, place = _place(keys, key)
        except DataLoss:
            # This key was never readable. An operator may delete it to repair the store.
            continue
        if room in news:
            news[room][place] = None
    return dataclasses.replace(before, revision=Revision(revision), **_parts(before, news))


def _parts(before: ClusterMap, news: Mapping[str, Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the parts of the map that change. A part without news stays the same object."""
    parts: dict[str, Any] = {room: news[room][""] for room in _ALONE if news[room]}
    for room, known in (("workers", before.workers), ("drain", before.drains), ("forgotten", before.forgotten)):
        if news[room]:
            parts[_PARTS.get(room, room)] = {worker: entry for worker, entry in {**known, **news[room]}.items() if entry is not None}
    if "rebalance" in news["ops"]:
        parts["rebalance"] = news["ops"]["rebalance"]
    if "balance" in news["ops"]:
        parts["balance"] = news["ops"]["balance"] or BalanceSettings()
    if news["collections"]:
        parts["collections"] = before.collections.after(news["collections"])
    if news["shards"]:
        parts["shards"] = before.shards.after(news["shards"])
    return parts


def _place(keys: Keys, key: str) -> tuple[str, Any]:
    room, _, rest = key.removeprefix(keys.prefix).partition("/")
    if room == "shards":
        collection, _, number = rest.partition("/")
        if _NUMBER.fullmatch(number) is None:
            raise DataLoss(f"the store's key {key} names no shard")
        return room, ShardId(CollectionId(collection), int(number))
    # A key below one that is alone in its room is as unknown as a key in an unknown room.
    return (room, rest) if room not in _ALONE or not rest else ("", rest)


def _shard_entry(shard: ShardId, entry: Versioned) -> ShardEntry:
    return ShardEntry(config=decode_shard(shard, entry.key, entry.value), epoch=Revision(entry.mod_revision))


def _cluster_id(entry: Versioned) -> ClusterId:
    try:
        return ClusterId(entry.value.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataLoss(f"the store's key {entry.key} holds no readable value ({error})") from None


_NUMBER = re.compile("0|[1-9][0-9]{0,8}")

_ALONE = ("cluster", "leader")
"""Rooms with a single key, whose name ends there."""

_PARTS = {"drain": "drains"}
"""The part of the map for a room, where it has another name."""

_OPERATIONS: dict[str, Callable[[str, bytes, int], Any]] = {"rebalance": decode_rebalance, "balance": decode_balance}


def _operation(name: str, entry: Versioned) -> Any:
    """Return the value of a key of the room `ops`; None for one that this version does not know."""
    decode = _OPERATIONS.get(name)
    return None if decode is None else decode(entry.key, entry.value, entry.mod_revision)


_DECODE: dict[str, Callable[[Any, Versioned], Any]] = {
    "cluster": lambda _, entry: _cluster_id(entry),
    "leader": lambda _, entry: decode_leader(entry.key, entry.value, entry.create_revision),
    "workers": lambda _, entry: decode_worker(entry.key, entry.value, entry.mod_revision),
    "collections": lambda _, entry: decode_collection(entry.key, entry.value, entry.mod_revision),
    "shards": _shard_entry,
    "drain": lambda _, entry: decode_drain(entry.key, entry.value, entry.mod_revision),
    "forgotten": lambda _, entry: Revision(entry.mod_revision),
    "ops": _operation,
}
