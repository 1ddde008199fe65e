"""Text searches of several replicas find what a look at every document finds, to the last bit: with and without
filters, in one step and in two, on the event loop and in threads, called and over messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DataLoss, DeadlineExceeded, InvalidArgument, PreconditionFailed, Unavailable
from shoal.core.filter import Filter, In, Range
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId
from shoal.core.points import PointId, id_array
from shoal.core.shard_calls import Consistency, QueryGroup, ReadTerms, ShardService
from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextStatsCall
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField
from shoal.core.text_hits import merged_text_hits
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.core.text_statistics import FieldStatistics, TextStatistics
from shoal.shard_worker.hosting import texts_search
from shoal.shard_worker.hosting.host import FailedReplica, Host
from shoal.shard_worker.index.search.ask import ViewOutdated
from shoal.shard_worker.index.search.text_search import TextsFound, TextView, search_texts
from shoal.shard_worker.text.asking import asked_fields, query_of
from shoal.shard_worker.text.field_texts import field_texts
from tests.support.worker.hop import LinesInMemory, remote
from tests.support.worker.replica_bench import DIM, Bench, opened
from tests.support.worker.replica_texts import texts_twin
from tests.twins.texts import TextsTwin

SHARDS = tuple(ShardId(CollectionId("collection"), number) for number in range(3))
FIELDS = (TextField(name="body"), TextField(name="title", analyzer=AnalyzerOptions(kind=AnalyzerKind.WORDS)))
SPEC = CollectionSpec(name="c", dim=DIM, text=FIELDS)
WAIT_S = 20.0
WORDS = (*(f"w{at}" for at in range(25)), "graph", "graphs", "RocksDB", "数据库", "数据", "库", "tidb_mem_quota", "é")
FILTERS: tuple[Filter | None, ...] = (None, In(("label",), (1,)), Range(("at",), gte=100), In(("label",), ("none",)))

Payloads = dict[PointId, dict[str, Any]]
Work = Callable[["Shards"], Awaitable[None]]


def document(random: Random, at: int) -> dict[str, Any]:
    def text(longest: int) -> str:
        return " ".join(WORDS[min(int(random.paretovariate(0.6)) - 1, len(WORDS) - 1)] for _ in range(random.randint(0, longest)))

    body: Any = [text(4), text(4)] if random.random() < 0.2 else text(12)
    return {"body": body, "title": text(4), "label": at % 3, "at": at} if random.random() < 0.9 else {"label": at % 3, "at": at}


@dataclasses.dataclass
class Shards:
    host: Host
    benches: Sequence[Bench]
    payloads: Payloads
    random: Random

    async def upsert(self, bench: Bench, ids: Sequence[PointId]) -> None:
        made = [document(self.random, self.random.randint(0, 200)) for _ in ids]
        await bench.upsert(ids, np.ones((len(ids), DIM)), tuple(json.dumps(each).encode() for each in made))
        self.payloads.update(zip(ids, made, strict=True))

    async def change(self, *, seal: bool) -> None:
        """Write new points and new texts of others, delete some, and seal the first shard."""
        for number, bench in enumerate(self.benches):
            await self.upsert(bench, [f"id {3 * at + number}" if at % 5 == 0 else 3 * at + number for at in range(60)])
        for number, bench in enumerate(self.benches):
            if seal and number < 2:
                await bench.replica.optimize(WAIT_S)
            await self.upsert(bench, [3 * at + number for at in (2, 3, 4, 6, 7, 70, 71)])
            gone = [3 * at + number for at in (8, 9, 11, 12, 13)]
            await bench.delete(gone)
            for each in gone:
                del self.payloads[each]

    def twin(self) -> TextsTwin:
        return texts_twin(field_texts(FIELDS), self.payloads)

    def expected(self, twin: TextsTwin, ask: TextAsk, group: QueryGroup, min_score: float | None) -> list[tuple[PointId, float]]:
        query = query_of(ask, asked_fields(ask, field_texts(FIELDS).analyzers))
        allowed = {each for each, payload in self.payloads.items() if matches(group.filter, payload)}
        found = twin.search(query, group.k, allowed)
        return [hit for hit in found if min_score is None or hit[1] >= min_score]


def matches(filter: Filter | None, payload: Mapping[str, Any]) -> bool:
    match filter:
        case None:
            return True
        case In(_, values):
            return payload["label"] in values
        case Range(gte=gte):
            return bool(payload["at"] >= gte)
        case _:
            raise AssertionError(filter)


def with_shards(folder: Path, work: Work, *, seal: bool = True, spec: CollectionSpec = SPEC) -> None:
    async def run() -> None:
        async with three(folder, spec) as shards:
            await shards.change(seal=seal)
            await work(shards)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def three(folder: Path, spec: CollectionSpec) -> AsyncIterator[Shards]:
    async with contextlib.AsyncExitStack() as stack:
        benches = [
            await stack.enter_async_context(opened(folder / str(shard.number), term=1, spec=spec, shard=shard, growing_rows=40))
            for shard in SHARDS
        ]
        yield Shards(Host(open={bench.shard: bench.replica for bench in benches}), benches, {}, Random(5))


def drawn_text(random: Random, most: int) -> str:
    return " ".join(WORDS[min(int(random.paretovariate(0.4)) - 1, len(WORDS) - 1)] for _ in range(random.randint(1, most)))


def drawn_ask(random: Random) -> TextAsk:
    return TextAsk(
        text=drawn_text(random, 4) if random.random() < 0.8 else "",
        fields=random.choice(((), (("title", 2.0),), (("body", 0.5), ("title", 3.0)))),
        match=random.choice((Match.ANY, Match.ANY, Match.ALL)),
        must=(drawn_text(random, 1),) if random.random() < 0.3 else (),
        must_not=(drawn_text(random, 2),) if random.random() < 0.2 else (),
        phrases=(drawn_text(random, 2),) if random.random() < 0.15 else (),
        prefix=random.choice(("w1", "gra", "w", "数")) if random.random() < 0.15 else "",
    )


def drawn_asks(seed: int, count: int) -> tuple[TextAsk, ...]:
    random = Random(seed)
    asks = (drawn_ask(random) for _ in range(10 * count))
    return tuple(each for each in asks if each.text or each.must or each.phrases or each.prefix)[:count]


def listed(found: TextFound) -> list[list[tuple[PointId, float]]]:
    """Return the hits of each query."""
    hits = list(zip(found.hits.ids.tolist(), found.hits.scores.tolist(), strict=True))
    ends = np.cumsum(found.hits.counts).tolist()
    return [hits[end - count : end] for end, count in zip(ends, found.hits.counts.tolist(), strict=True)]


def call(*asks: TextAsk, groups: Sequence[QueryGroup] = (QueryGroup(k=10),), **options: Any) -> TextSearchCall:
    return TextSearchCall(**{"shards": SHARDS, "asks": asks, "groups": tuple(groups), **options})


async def in_two_steps(service: ShardService, search: TextSearchCall) -> TextFound:
    """Count first, and search each shard with the sums."""
    counted = await service.text_stats(TextStatsCall(shards=search.shards, asks=search.asks), WAIT_S)
    assert not counted.failed
    return await service.text_search(dataclasses.replace(search, statistics=counted.statistics), WAIT_S)


@pytest.mark.parametrize("on_loop_us", [0.0, 1e9], ids=["in threads", "on the loop"])
@pytest.mark.parametrize("seal", [False, True], ids=["growing", "sealed"])
def test_hits_are_those_of_a_look_at_every_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seal: bool, on_loop_us: float) -> None:
    monkeypatch.setattr(texts_search, "ON_LOOP_US", on_loop_us)

    async def work(shards: Shards) -> None:
        twin, over_messages = shards.twin(), remote(LinesInMemory(shards.host))
        asks, found_any = drawn_asks(3, 24), 0
        sizes = ((7, None), (500, None), (1, None), (10, 1.0), (500, 1.5))
        for filter, (k, min_score) in zip((*FILTERS, *FILTERS[:3]), (*sizes, *sizes), strict=False):
            group = QueryGroup(k=k, filter=filter)
            search = call(*asks, groups=(group,), min_score=min_score)
            expected = [shards.expected(twin, ask, group, min_score) for ask in asks]
            found_any += sum(map(len, expected))
            assert listed(await shards.host.text_search(search, WAIT_S)) == expected
            assert listed(await in_two_steps(over_messages, search)) == expected
        assert found_any > 1_000

    with_shards(tmp_path, work, seal=seal)


@pytest.mark.parametrize("least_piece", [2, 1_000], ids=["cut for threads", "whole"])
def test_groups_have_their_own_k_and_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least_piece: int) -> None:
    monkeypatch.setattr(texts_search, "ON_LOOP_US", 0.0)
    monkeypatch.setattr(texts_search, "LEAST_PIECE", least_piece)

    async def work(shards: Shards) -> None:
        twin, asks = shards.twin(), drawn_asks(4, 6)
        groups = (
            QueryGroup(k=3, filter=FILTERS[1], queries=np.array([1, 4])),
            QueryGroup(k=9, queries=np.array([0, 5])),
            QueryGroup(k=1, filter=FILTERS[2], queries=np.array([2, 3])),
        )
        of = {number: group for group in groups if group.queries is not None for number in group.queries.tolist()}
        found = await shards.host.text_search(call(*asks, groups=groups), WAIT_S)
        assert listed(found) == [shards.expected(twin, ask, of[number], None) for number, ask in enumerate(asks)]

    with_shards(tmp_path, work)


@pytest.mark.parametrize("on_loop_us", [0.0, 1e9], ids=["in threads", "on the loop"])
def test_queries_without_a_word_to_search_for_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_loop_us: float) -> None:
    monkeypatch.setattr(texts_search, "ON_LOOP_US", on_loop_us)
    fields = (TextField(name="body", analyzer=AnalyzerOptions(stop_words=("w1", "graph"))), FIELDS[1])
    body = (("body", 1.0),)
    asks = (
        TextAsk(text="w1 graph, w1"),
        TextAsk(text="w1 graph", fields=body),
        TextAsk(text="w1 w2", fields=body),
        TextAsk(text="?! ..."),
        TextAsk(text="w1", fields=body, must=("w2",)),
        TextAsk(text="", fields=body, phrases=("w1",)),
    )

    async def work(shards: Shards) -> None:
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            for found in (await service.text_search(call(*asks * 4), WAIT_S), await in_two_steps(service, call(*asks * 4))):
                assert found.wordless == tuple(at for at in range(24) if at % 6 in (1, 3, 5))
                assert {at % 6 for at, count in enumerate(found.hits.counts.tolist()) if not count} == {1, 3, 5}

    with_shards(tmp_path, work, spec=dataclasses.replace(SPEC, text=fields))


def test_one_shard_with_the_statistics_of_all_scores_as_all_do(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        search = call(*drawn_asks(5, 8), groups=(QueryGroup(k=1_000),))
        whole = await in_two_steps(shards.host, search)
        counted = [(await shards.host.text_stats(TextStatsCall(shards=(shard,), asks=search.asks), WAIT_S)).statistics for shard in SHARDS]
        given = dataclasses.replace(search, statistics=counted[2] + counted[0] + counted[1])
        alone = [await shards.host.text_search(dataclasses.replace(given, shards=(shard,)), WAIT_S) for shard in SHARDS]
        hits = merged_text_hits([each.hits for each in alone], 1_000)
        assert listed(TextFound(hits=hits)) == listed(whole)
        assert len(hits) > 100

    with_shards(tmp_path, work)


def test_statistics_count_the_living_rows_of_all_shards(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        twin, asks = shards.twin(), drawn_asks(6, 10)
        found = await shards.host.text_stats(TextStatsCall(shards=SHARDS, asks=asks), WAIT_S)
        words = {word for ask in asks for word in query_of(ask, asked_fields(ask, field_texts(FIELDS).analyzers)).boosts}
        assert dict(found.statistics.holding) == {word: twin.holding(word) for word in words}
        lengths = {name: twin.lengths(name) for name in ("body", "title")}
        assert dict(found.statistics.fields) == {name: FieldStatistics(len(each), sum(each)) for name, each in lengths.items()}

    with_shards(tmp_path, work)


def test_shares_add_up_to_the_score(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        search = call(*drawn_asks(7, 8), shares=True, groups=(QueryGroup(k=30),))
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            found = await service.text_search(search, WAIT_S)
            assert found.hits.shares is not None
            assert len(found.hits.shares) == len(found.hits) > 20
            for score, shares in zip(found.hits.scores.tolist(), found.hits.shares, strict=True):
                assert sum((each.share for each in shares), 0.0) == score
                assert all(each.share > 0 for each in shares)
                assert list(shares) == sorted(shares, key=lambda each: (each.field, each.word, each.prefix))

    with_shards(tmp_path, work)


def test_explanations_name_each_segment_and_query(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        asks = (TextAsk(text="w0 w1"), TextAsk(text="no such thing"))
        for filter in (None, FILTERS[1]):
            found = await shards.host.text_search(call(*asks, explain=True, groups=(QueryGroup(k=5, filter=filter),)), WAIT_S)
            assert found.statistics is not None
            assert found.statistics == (await shards.host.text_stats(TextStatsCall(shards=SHARDS, asks=asks), WAIT_S)).statistics
            assert sum(each.rows for each in found.explain if not each.query) == len(shards.payloads)
            assert [(each.shard, each.query) for each in found.explain] == sorted(
                [(each.shard, each.query) for each in found.explain], key=lambda each: each[0]
            )
            eligible = sum(each.eligible for each in found.explain if not each.query)
            assert eligible == sum(matches(filter, payload) for payload in shards.payloads.values())
            assert {each.state for each in found.explain} == {"growing", "sealed"}
            assert all((each.plan == "empty") == (not each.postings) for each in found.explain if filter is None)
            assert all(each.scored <= each.rows and each.words in (8, 14) and each.us > 0 for each in found.explain)
            assert sum(each.scored for each in found.explain) >= len(found.hits)

    with_shards(tmp_path, work)


def test_marks_are_the_spans_of_the_words_in_the_stored_texts(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        bench = shards.benches[0]
        payloads = (b'{"body":["a graph","no","Graphs!"],"title":"graphs"}', b'{"body":"x"}', None)
        await bench.upsert(["a", 1_000, "1000"], np.ones((3, DIM)), payloads)
        ids = id_array(["1000", 1_000, "gone", "a"])
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            marks = await service.text_marks(TextMarksCall(shard=bench.shard, ids=ids, ask=TextAsk(text="graph")), WAIT_S)
            assert marks == ((), (), (), (FieldSpans("body", ((2, 7), (11, 17))),))
            titles = TextAsk(text="graphs x", fields=(("title", 1.0),))
            marks = await service.text_marks(TextMarksCall(shard=bench.shard, ids=ids, ask=titles), WAIT_S)
            assert marks == ((), (), (), (FieldSpans("title", ((0, 6),)),))

    with_shards(tmp_path, work)


def test_long_texts_are_marked_in_a_thread(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        bench = shards.benches[0]
        text = "needle " + "hay " * 2_000 + "needle"
        await bench.upsert(["a"], np.ones((1, DIM)), (json.dumps({"body": text}).encode(),))
        (marks,) = await shards.host.text_marks(TextMarksCall(shard=bench.shard, ids=id_array(["a"]), ask=TextAsk(text="needles")), WAIT_S)
        assert marks == (FieldSpans("body", ((0, 6), (len(text) - 6, len(text)))),)

    with_shards(tmp_path, work)


def test_shards_that_fail_are_named_and_do_not_fail_the_others(tmp_path: Path) -> None:
    hidden, other = ShardId(CollectionId("collection"), 9), ShardId(CollectionId("collection"), 8)

    async def work(shards: Shards) -> None:
        shards.host.failed[hidden] = FailedReplica(replica=ReplicaId("r"), reason=DataLoss("crc"))
        shards.benches[1].lease[0] = False
        asks = (TextAsk(text="w0 w1 w2"),)
        named = {"shards": (*SHARDS, hidden, other), "consistency": Consistency.PRIMARY}
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            counted = await service.text_stats(TextStatsCall(asks=asks, **named), WAIT_S)
            found = await service.text_search(call(*asks, statistics=counted.statistics, **named), WAIT_S)
            for failed in (counted.failed, found.failed, (await service.text_search(call(*asks, **named), WAIT_S)).failed):
                assert {shard.number: type(error) for shard, error in failed.items()} == {1: Unavailable, 9: DataLoss, 8: Unavailable}
            left = call(*asks, shards=(SHARDS[0], SHARDS[2]), statistics=counted.statistics)
            assert listed(found) == listed(await service.text_search(left, WAIT_S))
            assert len(found.hits)

    with_shards(tmp_path, work)


def test_a_shard_waits_for_the_record_that_is_needed(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        bench = shards.benches[0]
        ack = await bench.upsert(["new"], np.ones((1, DIM)), (b'{"body":"needle"}',))
        found = await shards.host.text_search(call(TextAsk(text="needle"), min_seqs={bench.shard: ack.seq}), WAIT_S)
        assert found.hits.ids.tolist() == ["new"]
        bench.lease[0] = False
        ask = TextAsk(text="needle")
        counted = await shards.host.text_stats(TextStatsCall(shards=SHARDS, asks=(ask,)), WAIT_S)
        later = call(ask, min_seqs={bench.shard: Seq(ack.seq + 1)}, statistics=counted.statistics)
        late = await shards.host.text_search(later, 0.2)
        assert {shard: type(error) for shard, error in late.failed.items()} == {bench.shard: DeadlineExceeded}
        assert not len(late.hits)

    with_shards(tmp_path, work)


@pytest.mark.parametrize(
    ("search", "field"),
    [
        (call(TextAsk(text="a", fields=(("body", -1.0),))), "fields"),
        (call(TextAsk()), "text"),
        (call(TextAsk(prefix="two words")), "prefix"),
        (call(TextAsk(text="a"), groups=(QueryGroup(k=0),)), "k"),
        (call(TextAsk(text="a"), groups=()), "groups"),
        (call(TextAsk(text="a"), groups=(QueryGroup(k=1), QueryGroup(k=2))), "groups"),
        (call(TextAsk(text="a"), groups=(QueryGroup(k=1, queries=np.array([1])),)), "groups"),
        (call(TextAsk(text="a"), min_score=float("nan")), "min_score"),
    ],
)
def test_what_is_not_allowed_is_an_error_of_the_call(tmp_path: Path, search: TextSearchCall, field: str) -> None:
    async def work(shards: Shards) -> None:
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            with pytest.raises(InvalidArgument) as raised:
                await service.text_search(search, WAIT_S)
            assert raised.value.details.field == field

    with_shards(tmp_path, work)


def test_a_field_that_a_shard_has_not_taken_in_yet_is_refused_there(tmp_path: Path) -> None:
    """Routers check names, so the collection was altered just now. No shard may answer without the field."""

    async def work(shards: Shards) -> None:
        ask = TextAsk(text="a", fields=(("body", 1.0), ("tag", 1.0)))
        for service in (shards.host, remote(LinesInMemory(shards.host))):
            found = await service.text_search(call(ask), WAIT_S)
            counted = await service.text_stats(TextStatsCall(shards=SHARDS, asks=(ask,)), WAIT_S)
            for failed in (found.failed, counted.failed):
                assert set(failed) == set(SHARDS)
                for error in failed.values():
                    assert isinstance(error, PreconditionFailed)
                    assert "text field 'tag' is not indexed by shard" in error.message
            with pytest.raises(PreconditionFailed, match="'tag' is not indexed"):
                await service.text_marks(TextMarksCall(shard=SHARDS[0], ids=id_array([3]), ask=ask), WAIT_S)

    with_shards(tmp_path, work)


def test_a_collection_without_text_fields_cannot_be_asked(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        ask = TextAsk(text="w0")
        with pytest.raises(InvalidArgument, match="has no text field"):
            await shards.host.text_search(call(ask), WAIT_S)
        with pytest.raises(InvalidArgument, match="has no text field"):
            await shards.host.text_stats(TextStatsCall(shards=SHARDS, asks=(ask,)), WAIT_S)
        with pytest.raises(InvalidArgument, match="has no text field"):
            await shards.host.text_marks(TextMarksCall(shard=SHARDS[0], ids=id_array([3]), ask=ask), WAIT_S)

    with_shards(tmp_path, work, spec=dataclasses.replace(SPEC, text=()))


def test_texts_without_words_find_nothing(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        found = await shards.host.text_search(call(TextAsk(text="?!"), TextAsk(text="w0"), shares=True, explain=True), WAIT_S)
        assert [len(hits) for hits in listed(found)] == [0, 10]

    with_shards(tmp_path, work)


def test_a_word_that_the_given_statistics_lack_counts_as_here(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        ask = TextAsk(text="w0 w1")
        counted = (await shards.host.text_stats(TextStatsCall(shards=SHARDS, asks=(ask,)), WAIT_S)).statistics
        lacking = TextStatistics(
            fields=counted.fields, holding={word: count for word, count in counted.holding.items() if word.text != "w1"}
        )
        whole = await shards.host.text_search(call(ask, statistics=counted, groups=(QueryGroup(k=500),)), WAIT_S)
        for given in (lacking, TextStatistics(fields={}, holding={})):
            found = await shards.host.text_search(call(ask, statistics=given, groups=(QueryGroup(k=500),)), WAIT_S)
            assert set(found.hits.ids.tolist()) == set(whole.hits.ids.tolist())
        none = TextStatistics(fields={"body": FieldStatistics(0, 0), "title": FieldStatistics(0, 0)}, holding={QueryWord("body", "w0"): 0})
        found = await shards.host.text_search(call(ask, statistics=none), WAIT_S)
        assert (found.hits.scores > 0).all()
        assert len(found.hits) == 10

    with_shards(tmp_path, work)


def test_a_field_that_is_still_indexed_in_some_segments_is_named(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        tag = TextField(name="tag", analyzer=AnalyzerOptions(kind=AnalyzerKind.RAW))
        engine = shards.benches[0].engine
        engine.texts.choose(field_texts((*FIELDS, tag)))
        _, segments = engine.reading.view().texts_ready(())
        found = await shards.host.text_search(call(TextAsk(text="w0")), WAIT_S)
        (error,) = found.failed.values()
        assert isinstance(error, PreconditionFailed)
        assert f"text fields body, tag, title of shard {SHARDS[0]} are still being indexed: 0 of {segments} segments" in error.message
        await shards.benches[0].upsert(["new"], np.ones((1, DIM)), (b'{"tag":"w0"}',))
        others = TextAsk(text="w0", fields=(("body", 1.0), ("title", 1.0)))
        found = await shards.host.text_search(call(others), WAIT_S)
        assert not found.failed
        assert len(found.hits) == 10

    with_shards(tmp_path, work)


def test_marks_follow_the_terms_of_a_read(tmp_path: Path) -> None:
    async def work(shards: Shards) -> None:
        shards.benches[1].lease[0] = False
        terms = ReadTerms(consistency=Consistency.PRIMARY)
        with pytest.raises(Unavailable):
            await shards.host.text_marks(TextMarksCall(shard=SHARDS[1], ids=id_array([1]), ask=TextAsk(text="a"), terms=terms), WAIT_S)

    with_shards(tmp_path, work)


def test_a_view_that_is_outdated_is_searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ShardId] = []

    def outdated(searched: TextView, *arguments: Any) -> TextsFound:
        asked.append(searched.shard)
        if asked.count(searched.shard) <= 3:
            raise ViewOutdated("a row was replaced")
        return search_texts(searched, *arguments)

    async def work(shards: Shards) -> None:
        search = call(TextAsk(text="w0 w1"), groups=(QueryGroup(k=9, filter=FILTERS[1]),))
        expected = listed(await shards.host.text_search(search, WAIT_S))
        monkeypatch.setattr(texts_search, "search_texts", outdated)
        assert listed(await shards.host.text_search(search, WAIT_S)) == expected
        assert min(asked.count(shard) for shard in SHARDS) == 4

    with_shards(tmp_path, work)
