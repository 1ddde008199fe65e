"""What a round may want done. Each step is one compare-and-swap: it names what it relies on, and is void when that has changed."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.collection import Collection
from shoal.core.ids import ClusterId
from shoal.core.shard_config import ShardConfig, ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateCluster:
    """Give the cluster its id. Relies on there being none."""

    cluster: ClusterId


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateShard:
    """Put the first configuration of a shard. Relies on its absence, the worker's registration and the collection as it is."""

    collection: Collection
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceShardAnew:
    """Give a shard that never became ACTIVE another worker. Relies as CreateShard does, and on `before` and its worker's absence."""

    collection: Collection
    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ElectPrimary:
    """Begin a new reign. Relies on `before`, on the end of the old primary's registration and on that of the new one."""

    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivateCollection:
    """Make a collection usable. Relies on the collection as it is."""

    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteShard:
    """Forget a dropped shard that nobody holds any more. Relies on `entry`."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteCollection:
    """Forget a dropped collection without shards. Relies on the collection as it is."""

    collection: Collection


Step = CreateCluster | CreateShard | PlaceShardAnew | ElectPrimary | ActivateCollection | DeleteShard | DeleteCollection
