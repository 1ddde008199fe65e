"""Converts calls of a router to a worker about text fields, and their answers, between values and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from shoal.core.errors import ErrorDetails, Internal, InvalidArgument, ShoalError
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import Seq, ShardId
from shoal.core.text_calls import (
    TextFound,
    TextHitColumns,
    TextMarksCall,
    TextSearchCall,
    TextShards,
    TextStatsCall,
    TextStatsFound,
)
from shoal.core.text_query import QueryWord
from shoal.core.text_statistics import FieldStatistics, TextStatistics
from shoal.core.turns import FREE, Turn
from shoal.v1 import worker_pb2
from shoal.wire.call_parts import (
    consistency_from_message,
    consistency_to_message,
    shard_from_message,
    shard_to_message,
    terms_from_message,
    terms_to_message,
)
from shoal.wire.columns import ids_from_message, ids_to_message
from shoal.wire.searches import groups_from_message, groups_to_message
from shoal.wire.status import details_from_message, details_to_message, error_of, message_of
from shoal.wire.text_queries import (
    ask_from_message,
    ask_to_message,
    marks_from_message,
    marks_to_message,
    shares_from_messages,
    shares_to_messages,
    text_explain_from_message,
    text_explain_to_message,
)

MANY_WORDS = 2_048
"""Messages with more texts or counts of words are converted off the event loop: that takes more than some
milliseconds."""

_MOST_ROWS = 2**63 - 1


def stats_to_message(call: TextStatsCall) -> worker_pb2.TextStatsRequest:
    """Return a count of words as a message."""
    return worker_pb2.TextStatsRequest(shards=_shards_to_message(call), queries=map(ask_to_message, call.asks))


def stats_from_message(message: worker_pb2.TextStatsRequest) -> TextStatsCall:
    """Return the count of a message. Raises InvalidArgument as text_search_from_message does."""
    return TextStatsCall(asks=tuple(map(ask_from_message, message.queries)), **_shards_from_message(message.shards))


def stats_found_to_message(found: TextStatsFound) -> worker_pb2.TextStatsResponse:
    """Return the answer to a count as a message."""
    return worker_pb2.TextStatsResponse(statistics=statistics_to_message(found.statistics), failed=_failed_to_messages(found.failed))


def stats_found_from_message(call: TextStatsCall, message: worker_pb2.TextStatsResponse) -> TextStatsFound:
    """Return the answer to a count. Raises Internal or InvalidArgument for an answer that cannot be."""
    return TextStatsFound(statistics=statistics_from_message(message.statistics), failed=_failed_from_messages(call, message.failed))


def text_search_to_message(call: TextSearchCall, turn: Turn = FREE) -> worker_pb2.TextSearchRequest:
    """Return a text search as a message."""
    return worker_pb2.TextSearchRequest(
        shards=_shards_to_message(call),
        queries=map(ask_to_message, call.asks),
        groups=groups_to_message(call.groups, turn),
        statistics=None if call.statistics is None else statistics_to_message(call.statistics),
        min_score=call.min_score,
        shares=call.shares,
        explain=call.explain,
    )


def text_search_from_message(message: worker_pb2.TextSearchRequest, turn: Turn = FREE) -> TextSearchCall:
    """Return the text search of a message.

    Raises InvalidArgument if it names no shard, or one twice, if not each shard has its min_seq, for an unknown match,
    for columns of different lengths, and as groups_from_message does.
    """
    return TextSearchCall(
        asks=tuple(map(ask_from_message, message.queries)),
        groups=groups_from_message(message.groups, turn),
        statistics=statistics_from_message(message.statistics) if message.HasField("statistics") else None,
        min_score=message.min_score if message.HasField("min_score") else None,
        shares=message.shares,
        explain=message.explain,
        **_shards_from_message(message.shards),
    )


def text_found_to_message(found: TextFound) -> worker_pb2.TextSearchResponse:
    """Return the answer to a text search as a message."""
    hits = found.hits
    return worker_pb2.TextSearchResponse(
        counts=hits.counts.tolist(),
        ids=ids_to_message(hits.ids),
        scores=hits.scores.tolist(),
        shares=None if hits.shares is None else [worker_pb2.WordShares(words=shares_to_messages(each)) for each in hits.shares],
        failed=_failed_to_messages(found.failed),
        explain=map(text_explain_to_message, found.explain),
        statistics=None if found.statistics is None else statistics_to_message(found.statistics),
        wordless=found.wordless,
    )


def text_found_from_message(call: TextSearchCall, message: worker_pb2.TextSearchResponse) -> TextFound:
    """Return the answer to a text search. Raises Internal or InvalidArgument for an answer that cannot be."""
    ids = ids_from_message(message.ids)
    counts = np.array(message.counts, dtype=np.int64)
    _check_lengths("hits", {"ids": len(ids), "scores": len(message.scores), "counts": int(counts.sum())})
    if len(counts) != len(call.asks):
        raise Internal(f"{len(counts)} counts of hits are given for {len(call.asks)} queries")
    if message.wordless and max(message.wordless) >= len(call.asks):
        raise Internal(f"query {max(message.wordless)} holds no word, there are {len(call.asks)} queries")
    shares = tuple(shares_from_messages(each.words) for each in message.shares) if call.shares else None
    if shares is not None:
        _check_lengths("hits", {"ids": len(ids), "shares": len(shares)})
    return TextFound(
        hits=TextHitColumns(counts=counts, ids=ids, scores=np.array(message.scores, dtype=np.float64), shares=shares),
        failed=_failed_from_messages(call, message.failed),
        explain=tuple(map(text_explain_from_message, message.explain)),
        statistics=statistics_from_message(message.statistics) if message.HasField("statistics") else None,
        wordless=tuple(message.wordless),
    )


def marks_call_to_message(call: TextMarksCall) -> worker_pb2.TextMarksRequest:
    """Return a request for spans as a message."""
    return worker_pb2.TextMarksRequest(
        shard=shard_to_message(call.shard), ids=ids_to_message(call.ids), query=ask_to_message(call.ask), terms=terms_to_message(call.terms)
    )


def marks_call_from_message(message: worker_pb2.TextMarksRequest) -> TextMarksCall:
    """Return the request for spans of a message. Raises InvalidArgument for ids or a query that cannot be read."""
    return TextMarksCall(
        shard=shard_from_message(message.shard),
        ids=ids_from_message(message.ids),
        ask=ask_from_message(message.query),
        terms=terms_from_message(message.terms),
    )


def marks_found_to_message(marks: Sequence[tuple[FieldSpans, ...]]) -> worker_pb2.TextMarksResponse:
    """Return the spans of each id as a message."""
    return worker_pb2.TextMarksResponse(marks=map(marks_to_message, marks))


def marks_found_from_message(call: TextMarksCall, message: worker_pb2.TextMarksResponse) -> tuple[tuple[FieldSpans, ...], ...]:
    """Return the spans of each id. Raises Internal unless there is an element for each."""
    if len(message.marks) != len(call.ids):
        raise Internal(f"marks are given for {len(message.marks)} points, {len(call.ids)} were asked for")
    return tuple(map(marks_from_message, message.marks))


def statistics_to_message(statistics: TextStatistics) -> worker_pb2.TextStatistics:
    """Return statistics as a message, in columns."""
    return worker_pb2.TextStatistics(
        fields=list(statistics.fields),
        rows=[each.rows for each in statistics.fields.values()],
        tokens=[each.tokens for each in statistics.fields.values()],
        words=[
            worker_pb2.TextWord(field=word.field, word=word.text.encode("utf-8", "surrogatepass"), prefix=word.prefix)
            for word in statistics.holding
        ],
        holding=list(statistics.holding.values()),
    )


def statistics_from_message(message: worker_pb2.TextStatistics) -> TextStatistics:
    """Return the statistics of a message.

    Raises InvalidArgument for columns of different lengths, words that are not UTF-8, and numbers that cannot be: more
    tokens' worth of rows than tokens, or more rows that hold a word than rows with text.
    """
    _check_lengths("statistics", {"fields": len(message.fields), "rows": len(message.rows), "tokens": len(message.tokens)})
    _check_lengths("statistics", {"words": len(message.words), "holding": len(message.holding)})
    fields = {name: FieldStatistics(rows, tokens) for name, rows, tokens in zip(message.fields, message.rows, message.tokens, strict=True)}
    for name, each in fields.items():
        if not each.rows <= each.tokens <= _MOST_ROWS:
            raise _impossible(f"field {name!r} has {each.tokens} tokens in {each.rows} rows with text")
    words = [QueryWord(each.field, _word(each.word), each.prefix) for each in message.words]
    for word, holding in zip(words, message.holding, strict=True):
        if word.field not in fields or holding > fields[word.field].rows:
            rows = fields[word.field].rows if word.field in fields else 0
            raise _impossible(f"{holding} rows hold a word of field {word.field!r}, which has {rows} rows with text")
    return TextStatistics(fields=fields, holding=dict(zip(words, message.holding, strict=True)))


def _word(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise _impossible(f"a word is not UTF-8: {error}") from None


def _impossible(message: str) -> InvalidArgument:
    return InvalidArgument(f"statistics: {message}", ErrorDetails(field="statistics"))


def _check_lengths(what: str, lengths: Mapping[str, int]) -> None:
    for (name, length), (other, wanted) in pairwise(lengths.items()):
        if length != wanted:
            raise InvalidArgument(
                f"{what}: {name} has {length} elements and {other} {wanted}, they need equally many", ErrorDetails(field=what)
            )


def _shards_to_message(call: TextShards) -> worker_pb2.TextShards:
    return worker_pb2.TextShards(
        first=shard_to_message(call.shards[0]),
        shards=[shard.number for shard in call.shards],
        min_seqs=[call.min_seqs.get(shard, 0) for shard in call.shards] if call.min_seqs else (),
        consistency=consistency_to_message(call.consistency),
        caller=call.caller,
    )


def _shards_from_message(message: worker_pb2.TextShards) -> dict[str, Any]:
    first = shard_from_message(message.first)
    shards = tuple(ShardId(first.collection, number) for number in message.shards)
    if not shards or len(set(shards)) != len(shards):
        raise InvalidArgument(f"shards are {list(message.shards)}, at least one is needed, each once", ErrorDetails(field="shards"))
    if len(message.min_seqs) not in (0, len(shards)):
        raise InvalidArgument(f"{len(message.min_seqs)} min_seqs are given for {len(shards)} shards", ErrorDetails(field="min_seqs"))
    return {
        "shards": shards,
        "consistency": consistency_from_message(message.consistency),
        "min_seqs": dict(zip(shards, map(Seq, message.min_seqs), strict=False)),
        "caller": message.caller,
    }


def _failed_to_messages(failed: Mapping[ShardId, ShoalError]) -> list[worker_pb2.ShardFailure]:
    return [
        worker_pb2.ShardFailure(
            shard=shard.number, status=error.status, message=message_of(error), details=details_to_message(error.details)
        )
        for shard, error in failed.items()
    ]


def _failed_from_messages(call: TextShards, messages: Iterable[worker_pb2.ShardFailure]) -> dict[ShardId, ShoalError]:
    asked = {shard.number: shard for shard in call.shards}
    failed: dict[ShardId, ShoalError] = {}
    for each in messages:
        if each.shard not in asked:
            raise Internal(f"shard {each.shard} failed, {sorted(asked)} were asked")
        failed[asked[each.shard]] = error_of(each.status, each.message, details_from_message(each.details))
    return failed
