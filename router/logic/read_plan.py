"""Plans reads: the call on each shard, and the replica that may answer it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import ErrorDetails, NotFound, Unavailable
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, WorkerId
from shoal.core.points import IdArray
from shoal.core.requests import Count, Get, ReadAs, Scroll, Search
from shoal.core.shard_calls import ReadTerms, RecallTarget, ShardCount, ShardGet, ShardScroll, ShardsSearch
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.core.text_calls import TextMarksCall
from shoal.core.text_query import TextAsk
from shoal.router.logic.write_plan import ShardPart


def shards_of(collection: Collection) -> tuple[ShardId, ...]:
    """Return every shard of a collection, placed or not."""
    return _shards(collection.id, collection.spec.shards)


@lru_cache(maxsize=1_024)
def _shards(collection: CollectionId, count: int) -> tuple[ShardId, ...]:
    return tuple(ShardId(collection, number) for number in range(count))


def shard_name(collection: Collection, number: int) -> str:
    """Return the name of a shard as people read it: "name/number"."""
    return f"{collection.spec.name}/{number}"


def shard_entry(cluster: ClusterMap, collection: Collection, number: int) -> ShardEntry:
    """Return the shard's configuration now.

    Raises NotFound if its collection was dropped, Unavailable if the shard is not placed.
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
    """Return the worker of the shard's primary. Raises Unavailable if there is none."""
    worker = entry.config.primary_worker
    if worker is None:
        raise Unavailable(f"shard {name} has no primary", ErrorDetails(shard=name))
    return worker


def is_still_led(before: ShardConfig, newest: ShardConfig | None) -> bool:
    """Return whether the primary of `before` leads the shard in the same term. newest: None if the shard is gone."""
    return newest is not None and newest.primary == before.primary and newest.term == before.term


def is_in_sync(replica: ReplicaId, newest: ShardConfig | None) -> bool:
    """Return whether a replica is in the isr. newest: None if the shard is gone."""
    return newest is not None and replica in newest.isr


def search_call(question: Search, collection: Collection, shards: tuple[ShardId, ...] | None = None) -> ShardsSearch:
    """Return the search of all shards. If the question has no accuracy, the collection's recall is the target.

    shards: shards_of the collection, if the caller knows them.
    """
    read = question.read
    return ShardsSearch(
        shards=shards_of(collection) if shards is None else shards,
        queries=question.queries,
        groups=question.groups,
        accuracy=question.accuracy or RecallTarget(collection.spec.recall),
        radius=question.radius,
        explain=question.explain,
        with_payload=question.with_payload,
        with_vectors=question.with_vectors,
        consistency=read.consistency,
        min_seqs=read.min_seqs(),
        caller=read.caller,
        vector=question.vector,
    )


def get_calls(question: Get, collection: Collection, parts: list[ShardPart]) -> list[ShardGet]:
    """Return the get of each shard that owns some of the ids. parts: of question.ids."""
    terms_of = _terms(question.read)
    return [
        ShardGet(
            shard=(shard := ShardId(collection.id, part.number)),
            ids=part.of_ids(question.ids),
            with_payload=question.with_payload,
            with_vectors=question.with_vectors,
            terms=terms_of(shard),
        )
        for part in parts
    ]


def marks_calls(ids: IdArray, ask: TextAsk, read: ReadAs, collection: Collection, parts: list[ShardPart]) -> list[TextMarksCall]:
    """Return the call on each shard that owns some of the ids: where the words of a text query are in their texts."""
    terms_of = _terms(read)
    return [
        TextMarksCall(shard=(shard := ShardId(collection.id, part.number)), ids=part.of_ids(ids), ask=ask, terms=terms_of(shard))
        for part in parts
    ]


def count_calls(question: Count, shards: tuple[ShardId, ...]) -> list[ShardCount]:
    """Return the count of each shard."""
    terms_of = _terms(question.read)
    return [ShardCount(shard=shard, filter=question.filter, terms=terms_of(shard)) for shard in shards]


def scroll_calls(question: Scroll, shards: tuple[ShardId, ...], limit: int) -> list[ShardScroll]:
    """Return the scroll of each shard. Each asks for `limit` points, since one shard may fill the whole page."""
    terms_of = _terms(question.read)
    return [
        ShardScroll(
            shard=shard,
            after=question.after,
            limit=limit,
            filter=question.filter,
            with_payload=question.with_payload,
            with_vectors=question.with_vectors,
            terms=terms_of(shard),
        )
        for shard in shards
    ]


def _terms(read: ReadAs) -> Callable[[ShardId], ReadTerms]:
    """Return a function that returns the conditions on the read of one shard."""
    min_seqs = read.min_seqs()
    return lambda shard: ReadTerms(consistency=read.consistency, min_seq=min_seqs.get(shard, Seq(0)), caller=read.caller)
