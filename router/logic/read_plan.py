"""Which shards a read asks for what, and who answers for a shard."""

from __future__ import annotations

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import ErrorDetails, NotFound, Unavailable
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import RecallTarget, ShardCount, ShardGet, ShardScroll, ShardSearch
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.logic.questions import CountQuestion, GetQuestion, ScrollQuestion, SearchQuestion
from shoal.router.logic.write_plan import ShardPart


def shards_of(collection: Collection) -> tuple[ShardId, ...]:
    """Every shard of a collection, placed or not."""
    return tuple(ShardId(collection.id, number) for number in range(collection.spec.shards))


def shard_name(collection: Collection, number: int) -> str:
    """A shard as people read it: "name/number"."""
    return f"{collection.spec.name}/{number}"


def shard_entry(cluster: ClusterMap, collection: Collection, number: int) -> ShardEntry:
    """The shard's configuration now.

    Raises NotFound when its collection was dropped, Unavailable when it is not placed.
    """
    found = cluster.collections.get(collection.id)
    if found is None or found.state is CollectionState.DROPPING:
        raise NotFound(f"collection {collection.spec.name!r} was dropped", ErrorDetails(field="collection"))
    entry = cluster.shards.get(ShardId(collection.id, number))
    if entry is None:
        name = shard_name(collection, number)
        raise Unavailable(f"shard {name} is not placed on a worker yet", ErrorDetails(shard=name))
    return entry


def primary_worker(entry: ShardEntry, name: str) -> WorkerId:
    """The worker that answers for a shard. Raises Unavailable when it has none."""
    worker = entry.config.primary_worker
    if worker is None:
        raise Unavailable(f"shard {name} has no primary", ErrorDetails(shard=name))
    return worker


def is_still_led(before: ShardConfig, newest: ShardConfig | None) -> bool:
    """Whether the primary of `before` leads the shard in the same term. newest: None when the shard is gone."""
    return newest is not None and newest.primary == before.primary and newest.term == before.term


def is_in_sync(replica: ReplicaId, newest: ShardConfig | None) -> bool:
    """Whether a replica is in the isr. newest: None when the shard is gone."""
    return newest is not None and replica in newest.isr


def search_calls(question: SearchQuestion, collection: Collection) -> list[ShardSearch]:
    """The search of each shard, for the recall of the collection when the question says nothing about accuracy."""
    reading = question.reading
    accuracy = question.accuracy or RecallTarget(collection.spec.recall)
    return [
        ShardSearch(
            shard=shard,
            queries=question.queries,
            groups=question.groups,
            accuracy=accuracy,
            radius=question.radius,
            explain=question.explain,
            with_payload=reading.with_payload,
            with_vectors=reading.with_vectors,
            terms=reading.terms(shard),
        )
        for shard in shards_of(collection)
    ]


def get_calls(question: GetQuestion, collection: Collection, parts: list[ShardPart]) -> list[ShardGet]:
    """The get of each shard that owns some of the ids. parts: of question.ids."""
    reading = question.reading
    return [
        ShardGet(
            shard=(shard := ShardId(collection.id, part.number)),
            ids=part.of_ids(question.ids),
            with_payload=reading.with_payload,
            with_vectors=reading.with_vectors,
            terms=reading.terms(shard),
        )
        for part in parts
    ]


def count_calls(question: CountQuestion, shards: tuple[ShardId, ...]) -> list[ShardCount]:
    """The count of each shard."""
    return [ShardCount(shard=shard, filter=question.filter, terms=question.reading.terms(shard)) for shard in shards]


def scroll_calls(question: ScrollQuestion, shards: tuple[ShardId, ...], limit: int) -> list[ShardScroll]:
    """The page of each shard: any of them might fill the whole one."""
    reading = question.reading
    return [
        ShardScroll(
            shard=shard,
            after=question.after,
            limit=limit,
            filter=question.filter,
            with_payload=reading.with_payload,
            with_vectors=reading.with_vectors,
            terms=reading.terms(shard),
        )
        for shard in shards
    ]
