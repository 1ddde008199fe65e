"""Text searches of one view: what is kept between searches and what is not, estimates, and errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, InvalidArgument, PreconditionFailed
from shoal.core.filter import Filter, In
from shoal.core.ids import CollectionId, ShardId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField
from shoal.core.text_query import QueryWord, TextAsk
from shoal.core.text_statistics import NO_STATISTICS, FieldStatistics
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.search import text_search
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.matching import Sought
from shoal.shard_worker.index.search.text_search import (
    TextView,
    count_words,
    estimated_count_us,
    estimated_texts_us,
    search_texts,
)
from shoal.shard_worker.text.asking import query_of
from shoal.shard_worker.text.field_texts import field_texts
from shoal.shard_worker.text.statistics import LivingRows

SHARD = ShardId(CollectionId("c"), 0)
FIELDS = (TextField(name="body"),)
NOTHING = np.empty(0, dtype=np.int64)


class Index:
    """One segment that grows, of rows with a text and a label."""

    def __init__(self, texts: Sequence[str], limit_bytes: int = 1 << 20) -> None:
        self.index = ReplicaIndex(dim=1, metric=Metric.L2, index="flat", growing_rows=10_000, texts=field_texts(FIELDS))
        self.hot, self.seq, self._rows = HotFilters(limit_bytes), 0, 0
        self.add(texts)

    def add(self, texts: Sequence[str]) -> None:
        rows = np.arange(self._rows, self._rows + len(texts), dtype=np.int64)
        payloads = [json.dumps({"body": text, "label": row % 2}).encode() for row, text in zip(rows.tolist(), texts, strict=True)]
        self._apply(NOTHING, rows, payloads)
        self._rows += len(texts)

    def kill(self, rows: Sequence[int]) -> None:
        self._apply(np.array(rows, dtype=np.int64), NOTHING, None)

    def _apply(self, killed: np.ndarray, rows: np.ndarray, payloads: list[bytes] | None) -> None:
        self.seq += 1
        self.index.apply(self.seq, killed, rows, rows, np.ones((len(rows), 1), dtype=np.float32), payloads)
        self.index.publish(self.seq)

    def searched(self) -> TextView:
        context = SearchContext(hot=self.hot, read_payloads=lambda rows: None, clock=lambda: 0.0)
        return TextView(SHARD, self.index.view(), context)


def call(text: str, k: int = 1_000, filter: Filter | None = None) -> TextSearchCall:
    return TextSearchCall(shards=(SHARD,), asks=(TextAsk(text=text),), groups=(QueryGroup(k=k, filter=filter),))


def found(index: Index, text: str, filter: Filter | None = None) -> list[int]:
    searched, search = index.searched(), call(text, filter=filter)
    ids: list[int] = search_texts(searched, search, count_words(searched, search.asks)).hits.ids.tolist()
    return ids


def test_living_rows_are_kept_until_one_dies_or_comes() -> None:
    index = Index(["a b"] * 10)
    index.kill([1])

    def living() -> LivingRows:
        view = index.searched().view
        (part,) = view.parts
        assert part.texts is not None
        return index.hot.living(part, part.texts, view.seq)

    first = living()
    assert found(index, "a") == [0, *range(2, 10)]
    assert living() is first
    index.kill([2])
    assert living() is not first
    second = living()
    index.add(["a"])
    assert living() is not second
    assert found(index, "a") == [10, 0, *range(3, 10)]


def test_views_of_earlier_moments_go_on_to_see_their_rows() -> None:
    index = Index(["a"] * 6)
    before, search = index.searched(), call("a", filter=In(("label",), (1,)))
    index.kill([1, 2])
    after = index.searched()
    for searched, expected in ((before, [1, 3, 5]), (after, [3, 5]), (before, [1, 3, 5]), (after, [3, 5])):
        counted = count_words(searched, search.asks)
        assert counted.holding == {QueryWord("body", "a"): 6 if searched is before else 4}
        assert search_texts(searched, search, counted).hits.ids.tolist() == expected


def test_the_rows_of_a_filter_are_kept_and_their_memory_counted() -> None:
    index, filter = Index(["a"] * 400), In(("label",), (1,))
    assert found(index, "a", filter) == list(range(1, 400, 2))
    (part,) = index.searched().view.parts
    hot = index.hot.peek(part, Sought.of(filter).key, index.seq)
    assert hot is not None
    among = hot.among(part, index.seq)
    eligible = hot.eligible(among)
    assert hot.bytes_of_eligible == 200 * 4 + 400
    assert index.hot.memory_bytes >= hot.memory_bytes() > 200 * 8 + hot.bytes_of_eligible
    assert found(index, "a", filter) == list(range(1, 400, 2))
    assert hot.eligible(among) is eligible
    index.kill([1])
    assert found(index, "a", filter) == list(range(3, 400, 2))
    assert hot.eligible(hot.among(index.searched().view.parts[0], index.seq)) is not eligible


def test_what_does_not_fit_into_the_cache_is_found_all_the_same() -> None:
    index = Index(["a"] * 50, limit_bytes=0)
    index.kill([3])
    assert found(index, "a", In(("label",), (1,))) == [1, *range(5, 50, 2)]
    assert index.hot.memory_bytes == 0


def test_counts_name_every_word_and_field_also_without_rows() -> None:
    index = Index([])
    counted = count_words(index.searched(), (TextAsk(text="a b"),))
    assert counted.holding == {QueryWord("body", "a"): 0, QueryWord("body", "b"): 0}
    assert counted.fields == {"body": FieldStatistics(0, 0)}
    assert found(index, "a") == []


def test_estimates_grow_with_the_work_and_unknown_filters_are_dear() -> None:
    index = Index(["a b c"] * 2_000)
    searched, enough, filter = index.searched(), 1e9, In(("label",), (1,))

    def us(search: TextSearchCall) -> float:
        return estimated_texts_us(searched, search, enough, counts=False)

    assert us(call("a")) < us(call("a b c")) < us(call("a b c", filter=filter))
    assert us(call("a", filter=filter)) > 5_000
    found(index, "a", filter)
    assert us(call("a", filter=filter)) < 1_000
    assert us(call("a", filter=In(("label",), tuple(range(5_000))))) == math.inf
    index.kill([0])
    with_dead = index.searched()
    assert estimated_texts_us(with_dead, call("a"), enough, counts=True) > estimated_texts_us(with_dead, call("a"), enough, counts=False)
    assert estimated_count_us(with_dead, (TextAsk(text="a"),) * 3, enough) > estimated_count_us(with_dead, (TextAsk(text="a"),), enough)


def test_long_texts_are_not_cut_for_an_estimate() -> None:
    index, long = Index(["a"]), call("a " * 5_000)
    assert estimated_texts_us(index.searched(), long, 1e9, counts=False) == math.inf
    assert estimated_count_us(index.searched(), long.asks, 1e9) == math.inf
    assert found(index, "a " * 5_000) == [0]


def test_a_field_without_an_index_in_a_segment_is_an_error_for_those_who_ask_it() -> None:
    index = Index(["a"])
    tag = TextField(name="tag", analyzer=AnalyzerOptions(kind=AnalyzerKind.RAW))
    index.index.choose_texts(field_texts((*FIELDS, tag)))
    index.add(["a"])
    searched = index.searched()
    with pytest.raises(PreconditionFailed, match="text fields body, tag of shard c/0 are still being indexed: 1 of 2 segments"):
        count_words(searched, (TextAsk(text="a"),))
    assert count_words(searched, (TextAsk(text="a", fields=(("body", 1.0),)),)).holding == {QueryWord("body", "a"): 2}


class EndingTurn:
    """The turn of a caller that leaves after some pauses."""

    rested_s = 0.0

    def __init__(self, pauses: int) -> None:
        self._left = pauses

    def check(self) -> None:
        if not self._left:
            raise DeadlineExceeded("nobody waits")

    def pause(self) -> None:
        self.check()
        self._left -= 1


@pytest.mark.parametrize(
    "asks", [[TextAsk(text=f"w{at}") for at in range(50)], [TextAsk(text="", must=tuple(f"w{at}" * 300 for at in range(50)))]]
)
def test_the_words_of_queries_are_not_made_for_a_caller_that_left(monkeypatch: pytest.MonkeyPatch, asks: list[TextAsk]) -> None:
    index, cut = Index(["a"]), list[str]()
    analyzer = type(field_texts(FIELDS).analyzers["body"])
    tokens = analyzer.query_tokens
    monkeypatch.setattr(analyzer, "query_tokens", lambda self, text: cut.append(text) or tokens(self, text))  # type: ignore[func-returns-value]
    text_search._remembered_short.cache_clear()
    text_search._remembered_query.cache_clear()
    with pytest.raises(DeadlineExceeded):
        count_words(index.searched(), asks, EndingTurn(10))
    assert len(cut) < 12
    search = TextSearchCall(shards=(SHARD,), asks=tuple(asks), groups=(QueryGroup(k=1),))
    text_search._remembered_short.cache_clear()
    text_search._remembered_query.cache_clear()
    with pytest.raises(DeadlineExceeded):
        search_texts(index.searched(), search, NO_STATISTICS, EndingTurn(10))
    assert len(cut) < 24


def test_a_whole_batch_is_cut_into_words_once(monkeypatch: pytest.MonkeyPatch) -> None:
    index, cut = Index(["a"]), list[str]()
    made = query_of
    monkeypatch.setattr(text_search, "query_of", lambda ask, fields: cut.append(ask.text) or made(ask, fields))  # type: ignore[func-returns-value]
    asks = tuple(TextAsk(text=f"b{at}") for at in range(DEFAULT_LIMITS.batch_queries))
    search = TextSearchCall(shards=(SHARD,), asks=asks, groups=(QueryGroup(k=1),))
    search_texts(index.searched(), search, count_words(index.searched(), asks))
    assert len(cut) == len(asks)


def test_many_words_are_counted_in_pieces() -> None:
    index, words = Index(["a b"]), [QueryWord("body", f"w{at}") for at in range(5_000)]
    with pytest.raises(DeadlineExceeded):
        text_search.statistics_of_words(index.searched(), words, EndingTurn(3))


def test_the_words_of_one_call_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    index, asks = Index(["a b"]), [TextAsk(text="a b")] * 5
    monkeypatch.setattr(text_search, "MOST_CALL_WORDS", 9)
    with pytest.raises(InvalidArgument, match="more than 9 words in their fields: ask for fewer queries") as caught:
        count_words(index.searched(), asks)
    assert caught.value.details.limit == "call_words"
    assert count_words(index.searched(), asks[:4]).holding
