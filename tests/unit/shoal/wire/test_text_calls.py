from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import Internal, InvalidArgument, ShoalError, Unavailable
from shoal.core.filter import Filter, filter_key
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.points import PointId, id_array
from shoal.core.shard_calls import Consistency, QueryGroup, ReadTerms
from shoal.core.text_calls import (
    TextExplain,
    TextFound,
    TextHitColumns,
    TextMarksCall,
    TextSearchCall,
    TextShards,
    TextStatsCall,
    TextStatsFound,
    WordShare,
)
from shoal.core.text_hits import no_text_hits
from shoal.core.text_query import QueryWord, TextAsk
from shoal.core.text_statistics import FieldStatistics, TextStatistics
from shoal.v1 import worker_pb2
from shoal.wire import text_calls as wire
from tests.support.examples.filters import filters
from tests.support.examples.texts import asks, field_spans, numbers, text_explains, word_shares
from tests.unit.shoal.wire.strategies import id_lists, over_the_wire, read_terms, same_ids, shard_ids

COLLECTION = CollectionId("c")
SHARDS = (ShardId(COLLECTION, 3), ShardId(COLLECTION, 1))
STATS = TextStatsCall(shards=SHARDS, asks=(TextAsk(text="a"),))
SEARCH = TextSearchCall(shards=SHARDS, asks=(TextAsk(text="a"),), groups=(QueryGroup(k=1),))


@st.composite
def statistics(draw: st.DrawFn) -> TextStatistics:
    fields = draw(st.dictionaries(st.sampled_from(["body", "title"]), st.integers(0, 2**40), max_size=2))
    known = {name: FieldStatistics(rows, rows * draw(st.integers(1, 1_000))) for name, rows in fields.items()}
    texts = st.text(st.characters(), max_size=4)
    words = draw(st.lists(st.builds(QueryWord, st.sampled_from(sorted(known)), texts, st.booleans()), max_size=5)) if known else []
    return TextStatistics(fields=known, holding={word: draw(st.integers(0, known[word.field].rows)) for word in words})


@st.composite
def shard_parts(draw: st.DrawFn) -> dict[str, Any]:
    collection = draw(shard_ids).collection
    shards = tuple(ShardId(collection, number) for number in draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True)))
    seqs = draw(st.lists(st.integers(1, 2**64 - 1).map(Seq), min_size=len(shards), max_size=len(shards)))
    return {
        "shards": shards,
        "consistency": draw(st.sampled_from(list(Consistency))),
        "min_seqs": dict(zip(shards, seqs, strict=True)) if draw(st.booleans()) else {},
        "caller": draw(st.text(max_size=5)),
    }


def parts_of(call: TextShards) -> dict[str, Any]:
    return {name: getattr(call, name) for name in ("shards", "consistency", "min_seqs", "caller")}


several_asks = st.lists(asks, max_size=3).map(tuple)
errors = st.dictionaries(st.sampled_from(SHARDS), st.text(max_size=9).map(Unavailable))


def told(failed: Any) -> dict[ShardId, tuple[type, str]]:
    return {shard: (type(error), error.message) for shard, error in failed.items()}


@given(parts=shard_parts(), asked=several_asks)
def test_a_count_comes_back(parts: dict[str, Any], asked: tuple[TextAsk, ...]) -> None:
    got = wire.stats_from_message(over_the_wire(wire.stats_to_message(TextStatsCall(asks=asked, **parts))))
    assert (got.asks, parts_of(got)) == (asked, parts)


@given(counted=statistics(), failed=errors)
def test_the_answer_to_a_count_comes_back(counted: TextStatistics, failed: dict[ShardId, ShoalError]) -> None:
    message = over_the_wire(wire.stats_found_to_message(TextStatsFound(statistics=counted, failed=failed)))
    got = wire.stats_found_from_message(STATS, message)
    assert (got.statistics, told(got.failed)) == (counted, told(failed))


@settings(deadline=None)
@given(
    parts=shard_parts(),
    asked=several_asks,
    k=st.integers(0, 2**32 - 1),
    filter=st.one_of(st.none(), filters()),
    queries=st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=1, unique=True).map(sorted)),
    counted=st.one_of(st.none(), statistics()),
    min_score=st.one_of(st.none(), numbers),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_a_search_comes_back(
    parts: dict[str, Any],
    asked: tuple[TextAsk, ...],
    k: int,
    filter: Filter | None,
    queries: list[int] | None,
    counted: TextStatistics | None,
    min_score: float | None,
    flags: tuple[bool, bool],
) -> None:
    group = QueryGroup(k=k, filter=filter, queries=None if queries is None else np.array(queries, dtype=np.int64))
    call = TextSearchCall(asks=asked, groups=(group,), statistics=counted, min_score=min_score, shares=flags[0], explain=flags[1], **parts)
    got = wire.text_search_from_message(over_the_wire(wire.text_search_to_message(call)))
    assert (got.asks, parts_of(got), got.statistics) == (asked, parts, counted)
    assert (got.min_score, got.shares, got.explain) == (min_score, *flags)
    (group,) = got.groups
    assert group.k == k
    assert (None if group.queries is None else group.queries.tolist()) == queries
    assert (None if group.filter is None else filter_key(group.filter)) == (None if filter is None else filter_key(filter))


@given(
    ids=id_lists,
    shares=st.one_of(st.none(), st.lists(st.lists(word_shares, max_size=2).map(tuple), min_size=12, max_size=12)),
    scores=st.lists(numbers, min_size=12, max_size=12),
    failed=errors,
    explain=st.lists(text_explains, max_size=2).map(tuple),
    counted=st.one_of(st.none(), statistics()),
    wordless=st.sampled_from(((), (0,))),
)
def test_the_answer_to_a_search_comes_back(
    ids: list[PointId],
    shares: list[tuple[WordShare, ...]] | None,
    scores: list[float],
    failed: dict[ShardId, ShoalError],
    explain: tuple[TextExplain, ...],
    counted: TextStatistics | None,
    wordless: tuple[int, ...],
) -> None:
    hits = TextHitColumns(
        counts=np.array([len(ids)], dtype=np.int64),
        ids=id_array(ids),
        scores=np.array(scores[: len(ids)], dtype=np.float64),
        shares=None if shares is None else tuple(shares[: len(ids)]),
    )
    found = TextFound(hits=hits, failed=failed, explain=explain, statistics=counted, wordless=wordless)
    call = TextSearchCall(shares=shares is not None, **{name: getattr(SEARCH, name) for name in ("shards", "asks", "groups")})
    got = wire.text_found_from_message(call, over_the_wire(wire.text_found_to_message(found)))
    assert same_ids(got.hits.ids, hits.ids)
    assert (got.hits.counts.tolist(), got.hits.scores.tobytes()) == ([len(ids)], hits.scores.tobytes())
    assert got.hits.shares == hits.shares
    assert (told(got.failed), got.explain, got.statistics, got.wordless) == (told(failed), explain, counted, wordless)


def test_an_answer_about_a_query_that_was_not_asked_is_refused() -> None:
    message = wire.text_found_to_message(TextFound(hits=no_text_hits(len(SEARCH.asks)), wordless=(len(SEARCH.asks),)))
    with pytest.raises(Internal, match=f"query {len(SEARCH.asks)} holds no word, there are {len(SEARCH.asks)} queries"):
        wire.text_found_from_message(SEARCH, message)


@given(shard=shard_ids, ids=id_lists, ask=asks, terms=read_terms)
def test_a_request_for_marks_comes_back(shard: ShardId, ids: list[PointId], ask: TextAsk, terms: ReadTerms) -> None:
    call = TextMarksCall(shard=shard, ids=id_array(ids), ask=ask, terms=terms)
    got = wire.marks_call_from_message(over_the_wire(wire.marks_call_to_message(call)))
    assert (got.shard, got.ask, got.terms) == (shard, ask, terms)
    assert same_ids(got.ids, call.ids)


@given(marks=st.lists(field_spans, max_size=4).map(tuple))
def test_marks_come_back(marks: tuple[tuple[FieldSpans, ...], ...]) -> None:
    call = TextMarksCall(shard=SHARDS[0], ids=id_array(range(len(marks))), ask=TextAsk(text="a"))
    assert wire.marks_found_from_message(call, over_the_wire(wire.marks_found_to_message(marks))) == marks


def test_lone_surrogates_in_words_come_back() -> None:
    counted = TextStatistics(fields={"body": FieldStatistics(1, 1)}, holding={QueryWord("body", "\ud800a", True): 1})
    assert wire.statistics_from_message(over_the_wire(wire.statistics_to_message(counted))) == counted


REF = worker_pb2.ShardRef(collection_id="c", number=1)
GOOD = worker_pb2.TextShards(first=REF, shards=[1])
REFUSED: list[tuple[worker_pb2.TextShards, worker_pb2.TextStatistics, str]] = [
    (worker_pb2.TextShards(first=REF), worker_pb2.TextStatistics(), "at least one is needed"),
    (worker_pb2.TextShards(first=REF, shards=[1, 1]), worker_pb2.TextStatistics(), "each once"),
    (worker_pb2.TextShards(first=REF, shards=[1], min_seqs=[1, 2]), worker_pb2.TextStatistics(), "2 min_seqs are given for 1 shards"),
    (worker_pb2.TextShards(first=REF, shards=[1], consistency=9), worker_pb2.TextStatistics(), "consistency is 9"),  # type: ignore[arg-type]
    (GOOD, worker_pb2.TextStatistics(fields=["a"]), "fields has 1 elements and rows 0"),
    (GOOD, worker_pb2.TextStatistics(fields=["a"], rows=[1]), "rows has 1 elements and tokens 0"),
    (GOOD, worker_pb2.TextStatistics(fields=["a"], rows=[2], tokens=[1]), "field 'a' has 1 tokens in 2 rows"),
    (GOOD, worker_pb2.TextStatistics(words=[worker_pb2.TextWord(word=b"a")]), "words has 1 elements and holding 0"),
    (GOOD, worker_pb2.TextStatistics(words=[worker_pb2.TextWord(word=b"\xff")], holding=[0]), "a word is not UTF-8"),
    (GOOD, worker_pb2.TextStatistics(words=[worker_pb2.TextWord(word=b"a")], holding=[1]), "1 rows hold a word of field ''"),
]


@pytest.mark.parametrize(("shards", "counted", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_search_that_cannot_be_is_refused(shards: worker_pb2.TextShards, counted: worker_pb2.TextStatistics, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        wire.text_search_from_message(over_the_wire(worker_pb2.TextSearchRequest(shards=shards, statistics=counted)))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (worker_pb2.TextSearchResponse(counts=[1]), "ids has 0 elements and scores 0|scores has 0 elements and counts 1"),
        (worker_pb2.TextSearchResponse(), "0 counts of hits are given for 1 queries"),
        (worker_pb2.TextSearchResponse(counts=[0], failed=[worker_pb2.ShardFailure(shard=2)]), "shard 2 failed"),
    ],
)
def test_an_answer_that_cannot_be_is_an_error(message: worker_pb2.TextSearchResponse, error: str) -> None:
    with pytest.raises((Internal, InvalidArgument), match=error):
        wire.text_found_from_message(SEARCH, over_the_wire(message))


def test_marks_for_other_points_are_an_error() -> None:
    call = TextMarksCall(shard=SHARDS[0], ids=id_array([1, 2]), ask=TextAsk(text="a"))
    with pytest.raises(Internal, match="marks are given for 1 points, 2 were asked for"):
        wire.marks_found_from_message(call, worker_pb2.TextMarksResponse(marks=[{}]))


def _damaged(data: bytes, drawn: random.Random) -> bytes:
    cut = bytearray(data)
    for _ in range(drawn.randint(1, 4)):
        kind = drawn.random()
        at = drawn.randrange(len(cut) + 1)
        if kind < 0.5 and at < len(cut):
            cut[at] = drawn.randrange(256)
        elif kind < 0.75:
            cut[at:at] = drawn.randbytes(drawn.randint(1, 3))
        else:
            del cut[at : at + drawn.randint(1, 5)]
    return bytes(cut)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_messages_are_read_or_refused_with_an_error_of_ours(seed: int) -> None:
    drawn = random.Random(seed)
    counted = TextStatistics(fields={"body": FieldStatistics(3, 9)}, holding={QueryWord("body", "é"): 2})
    hits = TextHitColumns(counts=np.array([2]), ids=id_array([1, "b"]), scores=np.array([2.0, 1.0]), shares=None)
    found = TextFound(hits=hits, failed={SHARDS[0]: Unavailable("gone")}, statistics=counted)
    marks = (((FieldSpans("body", ((0, 3),)),)),) * 2
    call = TextMarksCall(shard=SHARDS[0], ids=id_array([1, "x"]), ask=TextAsk(text="a", must=("b",), fields=(("body", 1.0),)))
    searched = TextSearchCall(shards=SHARDS, asks=(call.ask,), groups=(QueryGroup(k=1),), statistics=counted, min_seqs={SHARDS[0]: Seq(4)})
    readers: list[tuple[Any, Any]] = [
        (wire.text_search_to_message(searched), wire.text_search_from_message),
        (wire.stats_to_message(STATS), wire.stats_from_message),
        (wire.marks_call_to_message(call), wire.marks_call_from_message),
        (wire.text_found_to_message(found), lambda message: wire.text_found_from_message(SEARCH, message)),
        (wire.stats_found_to_message(TextStatsFound(statistics=counted)), lambda message: wire.stats_found_from_message(STATS, message)),
        (wire.marks_found_to_message(marks), lambda message: wire.marks_found_from_message(call, message)),
    ]
    read = refused = 0
    for message, reader in readers:
        for _ in range(60):
            try:
                reader(type(message).FromString(_damaged(message.SerializeToString(), drawn)))
                read += 1
            except (DecodeError, InvalidArgument, Internal):
                refused += 1
    assert read
    assert refused
