"""Text searches of several replicas of this worker: counts of words, hits, and where words are in texts.

Short searches that all replicas can answer now are one piece of work on the event loop. Otherwise each replica counts
and searches for itself, as its other reads do. A replica that fails does not fail the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from shoal.core.deadline import Deadline
from shoal.core.errors import InvalidArgument, ShoalError
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import Seq, ShardId
from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, StoredColumns
from shoal.core.shard_calls import Consistency, QueryGroup, ShardGet, k_of_queries
from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextShards, TextStatsCall, TextStatsFound
from shoal.core.text_hits import joined_text_hits, merged_text_hits, no_text_hits, without_words
from shoal.core.text_query import TextAsk
from shoal.core.text_statistics import NO_STATISTICS, TextStatistics
from shoal.core.turns import FREE, Turn
from shoal.runtime.clock import boot_s
from shoal.shard_worker.hosting.shards_search import ON_LOOP_US, deadline_of, each_shard
from shoal.shard_worker.index.search.ask import ViewOutdated
from shoal.shard_worker.index.search.text_search import (
    TextsFound,
    TextView,
    chars_of,
    check_ask_here,
    check_text_call,
    count_words,
    estimated_count_us,
    estimated_texts_us,
    search_texts,
)
from shoal.shard_worker.index.view import IndexView
from shoal.shard_worker.logic.replication.primary_read import is_sure
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.text.asking import asked_fields
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.marking import marked_words

MARKED_ON_LOOP_BYTES = 4_096
"""Payloads and a query with more bytes in all are marked in a thread: a kilobyte takes about 0.1 ms."""

LEAST_PIECE = 8
"""Least number of queries in a piece of a batch that is cut for several threads."""

_ANY_SEQ = Seq(0)


async def count_texts(replica_of: Callable[[ShardId], Replica], call: TextStatsCall, timeout_s: float) -> TextStatsFound:
    """Return the statistics of the shards that can answer, and the errors of the others.

    Raises InvalidArgument for an ask that is not allowed.
    """
    failed: dict[ShardId, ShoalError] = {}
    counted = await _counted(replica_of, call, deadline_of(timeout_s), failed)
    return TextStatsFound(statistics=_sum(counted), failed=failed)


async def search_text_replicas(replica_of: Callable[[ShardId], Replica], call: TextSearchCall, timeout_s: float) -> TextFound:
    """Return the best k points of each query over the shards that can answer, and the errors of the others.

    Raises InvalidArgument for asks, groups or a min_score that are not allowed.
    """
    check_text_call(call)
    deadline = deadline_of(timeout_s)
    found = _at_once(replica_of, call)
    if found is not None:
        return found
    failed: dict[ShardId, ShoalError] = {}
    statistics = call.statistics
    if statistics is None:
        counts = TextStatsCall(shards=call.shards, consistency=call.consistency, min_seqs=call.min_seqs, caller=call.caller, asks=call.asks)
        statistics = _sum(await _counted(replica_of, counts, deadline, failed))
    works = {shard: partial(_found, replica_of, call, shard, statistics, deadline) for shard in call.shards if shard not in failed}
    return _answer(call, await each_shard(works, failed), statistics, failed)


async def mark_texts(replica: Replica, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
    """Return for each id where the words of the ask are in its texts: nothing for an id that does not exist.

    Raises InvalidArgument for an ask that is not allowed, and as Replica.get does.
    """
    deadline, texts = Deadline.after(timeout_s, boot_s), replica.reading.view().texts
    check_ask_here(call.ask, texts, call.shard)
    if texts is None:
        return ((),) * len(call.ids)
    get = ShardGet(shard=call.shard, ids=call.ids, with_payload=True, with_vectors=False, terms=call.terms)
    points = await replica.get(get, deadline.left_s)
    work = partial(_marks, texts, call.ask, points)
    sizes = (len(text) for text in points.payloads or () if text is not None)
    if chars_of((call.ask,)) + sum(sizes) <= MARKED_ON_LOOP_BYTES:
        marks = work(FREE)
    else:
        marks = await replica.reads.in_pool(work, call.terms.caller, deadline, stored=False)
    return tuple(marks.get(point_id, ()) for point_id in call.ids.tolist())


def _marks(texts: FieldTexts, ask: TextAsk, points: StoredColumns, turn: Turn) -> dict[PointId, tuple[FieldSpans, ...]]:
    """Return the spans in the texts of each point. Raises InvalidArgument for an ask that is not allowed."""
    marked = marked_words(ask, asked_fields(ask, texts.analyzers), turn)
    marks: dict[PointId, tuple[FieldSpans, ...]] = {}
    for point_id, text in zip(points.ids.tolist(), points.payloads or (), strict=False):
        payload = payload_from_json(text)
        found = [(name, words.spans(texts.strings(name, payload), turn)) for name, words in marked.items()]
        marks[point_id] = tuple(FieldSpans(name, spans) for name, spans in found if spans)
    return marks


def _at_once(replica_of: Callable[[ShardId], Replica], call: TextSearchCall) -> TextFound | None:
    """Return the answer of a short search that all replicas can answer now; None for every other search, and for one
    with a fault: each replica says what is wrong when it is searched alone.
    """
    try:
        replicas = [replica_of(shard) for shard in call.shards]
        terms = [replica.sure_term() for replica in replicas] if call.consistency is Consistency.PRIMARY else []
        views = _views_now(replicas, call)
        if views is None or None in terms or not _is_short(views, call):
            return None
        statistics = call.statistics
        if statistics is None:
            statistics = _sum({each.shard: count_words(each, call.asks) for each in views})
        found = {each.shard: search_texts(each, call, statistics) for each in views}
    except ShoalError:
        return None
    if any(not is_sure(term, replica.sure_term()) for replica, term in zip(replicas, terms, strict=False)):
        return None
    return _answer(call, found, statistics, {})


def _views_now(replicas: Sequence[Replica], call: TextSearchCall) -> list[TextView] | None:
    views: list[TextView] = []
    for replica, shard in zip(replicas, call.shards, strict=True):
        searched = replica.searched_now(call.min_seqs.get(shard, _ANY_SEQ), stored=_reads_store(call))
        if searched is None:
            return None
        views.append(TextView(shard, searched.view, searched.context))
    return views


def _is_short(views: Sequence[TextView], call: TextSearchCall) -> bool:
    cost = 0.0
    for each in views:
        if cost <= ON_LOOP_US:
            cost += estimated_texts_us(each, call, ON_LOOP_US, counts=call.statistics is None)
    return cost <= ON_LOOP_US


async def _counted(
    replica_of: Callable[[ShardId], Replica], call: TextStatsCall, deadline: Deadline, failed: dict[ShardId, ShoalError]
) -> dict[ShardId, TextStatistics]:
    """Return the statistics of each shard that can answer, and add the errors of the others to `failed`."""

    async def count(shard: ShardId) -> TextStatistics:
        replica = replica_of(shard)

        def searched(view: IndexView) -> TextView:
            return TextView(shard, view, replica.reading.searched().context)

        return await replica.read_view(
            call.terms_of(shard),
            deadline.left_s,
            lambda view, turn: count_words(searched(view), call.asks, turn),
            lambda view: estimated_count_us(searched(view), call.asks, ON_LOOP_US),
            stored=False,
        )

    counted = await each_shard({shard: partial(count, shard) for shard in call.shards}, failed)
    _refuse_faults(call, failed)
    return counted


async def _found(
    replica_of: Callable[[ShardId], Replica], call: TextSearchCall, shard: ShardId, statistics: TextStatistics, deadline: Deadline
) -> TextsFound:
    """Return what one replica finds. The queries of a batch are cut for the threads of the pool."""
    replica = replica_of(shard)
    pieces = 1 if call.explain else min(replica.pools.search_threads, len(call.asks) // LEAST_PIECE)
    if pieces <= 1:
        return await _found_in(replica, call, shard, statistics, deadline)
    cuts = [len(call.asks) * number // pieces for number in range(pieces + 1)]
    works = {start: partial(_found_in, replica, _piece(call, start, end), shard, statistics, deadline) for start, end in pairwise(cuts)}
    failed: dict[int, ShoalError] = {}
    found = await each_shard(works, failed)
    for error in failed.values():
        raise error
    return TextsFound(
        hits=joined_text_hits([each.hits for each in found.values()]),
        explain=(),
        wordless=tuple(start + number for start, each in found.items() for number in each.wordless),
    )


def _piece(call: TextSearchCall, start: int, end: int) -> TextSearchCall:
    """Return the search of the queries start:end only."""
    groups: list[QueryGroup] = []
    for group in call.groups:
        if group.queries is None:
            groups.append(group)
            continue
        here = group.queries[(group.queries >= start) & (group.queries < end)] - start
        if len(here):
            groups.append(replace(group, queries=here))
    return replace(call, asks=call.asks[start:end], groups=tuple(groups))


async def _found_in(replica: Replica, call: TextSearchCall, shard: ShardId, statistics: TextStatistics, deadline: Deadline) -> TextsFound:
    def searched(view: IndexView) -> TextView:
        return TextView(shard, view, replica.reading.searched().context)

    def ask(view: IndexView, turn: Turn) -> TextsFound | None:
        try:
            return search_texts(searched(view), call, statistics, turn)
        except ViewOutdated:
            return None

    return await replica.read_view(
        call.terms_of(shard),
        deadline.left_s,
        ask,
        lambda view: estimated_texts_us(searched(view), call, ON_LOOP_US, counts=False),
        stored=_reads_store(call),
    )


def _answer(
    call: TextSearchCall, found: Mapping[ShardId, TextsFound], statistics: TextStatistics, failed: Mapping[ShardId, ShoalError]
) -> TextFound:
    _refuse_faults(call, failed)
    parts = [each.hits for each in found.values()]
    hits = merged_text_hits(parts, k_of_queries(call.groups, len(call.asks))) if parts else no_text_hits(len(call.asks), shares=call.shares)
    return TextFound(
        hits=hits,
        failed=failed,
        explain=tuple(line for each in found.values() for line in each.explain),
        statistics=statistics if call.explain else None,
        wordless=without_words([each.wordless for each in found.values()]),
    )


def _refuse_faults(call: TextShards, failed: Mapping[ShardId, ShoalError]) -> None:
    """Raise the error of a call that is not allowed. All shards have the same text fields, but for moments."""
    if len(failed) == len(call.shards):
        for error in failed.values():
            if isinstance(error, InvalidArgument):
                raise error


def _reads_store(call: TextSearchCall) -> bool:
    """Return whether the search may read the store: for what a filter asks."""
    return any(group.filter is not None for group in call.groups)


def _sum(counted: Mapping[ShardId, TextStatistics]) -> TextStatistics:
    return sum(counted.values(), NO_STATISTICS)
