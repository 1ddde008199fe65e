"""Text searches of views: what is asked, as queries of each view's fields; counts; the best points of all parts.

Owns the filter contract for texts: exactly k hits where at least k living rows that match the filter are hits. Rows
come from `matching`, as for vectors. Scores come from statistics that the caller may have summed over other shards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument, PreconditionFailed
from shoal.core.filter import is_long
from shoal.core.ids import ShardId
from shoal.core.limits import Limits
from shoal.core.points import IdArray, id_array
from shoal.core.text_calls import TextExplain, TextHitColumns, TextSearchCall, WordShare
from shoal.core.text_check import check_ask
from shoal.core.text_hits import joined_text_hits, no_text_hits, text_hit_order
from shoal.core.text_query import QueryWord, TextAsk
from shoal.core.text_statistics import NO_STATISTICS, NOTHING_COUNTED, TextStatistics
from shoal.core.topk import concat_ids
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.matching import Sought, matching
from shoal.shard_worker.index.search.search import UNKNOWN_FILTER_US
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.text.asking import asked_fields, query_of
from shoal.shard_worker.text.conditions import most_rows
from shoal.shard_worker.text.costs import estimated_us
from shoal.shard_worker.text.eligible import Eligible
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import TextQuery
from shoal.shard_worker.text.scoring import WeightedWord, weighted
from shoal.shard_worker.text.search import TextHits, TextTally, search_part, word_scores

ANY_SIZE = Limits(text_bytes=2**31, text_clauses=2**31)
"""Routers bound the size of what is asked. A worker bounds the number of words."""

MOST_CALL_WORDS = 524_288
"""Words of all queries of one call: each takes some hundred bytes until the call ends."""

_REMEMBERED_CHARS = 1_024
"""Longer asks are cut into words anew each time."""

_REMEMBERED_SHORT_CHARS, _REMEMBERED_SHORT = 128, 8_192
"""So many asks of at most so many characters are remembered: more than a batch has, since an older one is forgotten for
each new one. Their queries take some kilobytes each.
"""

_CHARS_ON_LOOP = 8_192
"""More are not cut on the event loop: they take some milliseconds."""

_CALL_US, _QUERY_US, _MATCHED_US = 60.0, 40.0, 60.0
_LIVING_US = 4e-3
"""Estimated times: of one call, one query, a look at rows that are known to match, one posting that is counted because
rows are dead.
"""


class TextView(NamedTuple):
    """A view of a shard to search, and what all searches of its replica share."""

    shard: ShardId
    view: IndexView
    context: SearchContext


def queries_of(searched: TextView, asks: Iterable[TextAsk], turn: Turn = FREE) -> list[TextQuery]:
    """Return the query of each ask in a view.

    Raises InvalidArgument for asks that are not allowed, or have too many words together, PreconditionFailed while a
    field that is asked is still being indexed, and as the turn.
    """
    texts, made = searched.view.texts, []
    names: set[str] = set()
    words = 0
    for ask in asks:
        turn.pause()
        check_ask_here(ask, texts, searched.shard)
        if texts is not None:
            names.update((name for name, _ in ask.fields) if ask.fields else texts.names)
            made.append(_query_of(ask, texts, turn))
            words += len(made[-1].boosts)
            if words > MOST_CALL_WORDS:
                raise InvalidArgument(
                    f"the queries of a call have more than {MOST_CALL_WORDS:,} words in their fields: ask for fewer queries at once",
                    ErrorDetails(field="text", limit="call_words"),
                )
    ready, parts = searched.view.texts_ready(names)
    if ready < parts:
        raise PreconditionFailed(
            f"text fields {', '.join(sorted(names))} of shard {searched.shard} are still being indexed: {ready} of {parts} segments are "
            "ready; name other fields, or search again later",
            ErrorDetails(field="fields", shard=str(searched.shard)),
        )
    return made


def check_ask_here(ask: TextAsk, texts: FieldTexts | None, shard: ShardId) -> None:
    """Raise InvalidArgument for an ask that is not allowed, PreconditionFailed if it names a field that is no text
    field here: routers check names, so the collection was altered, and this replica has not taken it in yet."""
    known = () if texts is None else texts.names
    unknown = [name for name, _ in ask.fields if name not in known]
    if unknown:
        raise PreconditionFailed(
            f"text field {str(unknown[0])[:60]!r} is not indexed by shard {shard} yet, or no more: its text fields are "
            f"{', '.join(known) or 'none'}; search again later",
            ErrorDetails(field="fields", shard=str(shard)),
        )
    check_ask(ask, known, ANY_SIZE)


def count_words(searched: TextView, asks: Sequence[TextAsk], turn: Turn = FREE) -> TextStatistics:
    """Return the statistics of a view for the scored words of these asks. Raises as queries_of, and as the turn."""
    return statistics_of_words(searched, words_of(queries_of(searched, asks, turn)), turn)


def words_of(queries: Iterable[TextQuery]) -> tuple[QueryWord, ...]:
    """Return the scored words of queries, each once."""
    return tuple(dict.fromkeys(word for query in queries for word in query.boosts))


def statistics_of_words(searched: TextView, words: Sequence[QueryWord], turn: Turn = FREE) -> TextStatistics:
    """Return the statistics of the living rows of a view for these words, and for all of its text fields."""
    view, hot = searched.view, searched.context.hot
    total = NO_STATISTICS
    for part in view.parts:
        if not part.live or part.texts is None:
            continue
        turn.pause()
        total += hot.living(part, part.texts, view.seq).statistics(words, turn)
        hot.counted(part)
    return total + TextStatistics(fields=dict.fromkeys({word.field for word in words}, NOTHING_COUNTED), holding=dict.fromkeys(words, 0))


def search_texts(searched: TextView, call: TextSearchCall, statistics: TextStatistics, turn: Turn = FREE) -> TextsFound:
    """Return the best k points of a view for each query, of which the score is at least min_score.

    statistics: of the whole collection. For a word that they lack, the rows of this view count: a worker of another
    version may have cut the text otherwise.

    Raises InvalidArgument for groups that do not fit the batch, ViewOutdated when the caller must take a newer view,
    and as queries_of and the turn do.
    """
    queries = queries_of(searched, call.asks, turn)
    check_text_call(call)
    statistics = _completed(searched, queries, statistics, turn)
    found: dict[int, tuple[TextHitColumns, list[TextExplain]]] = {}
    for group in call.groups:
        sought = None if group.filter is None else Sought.of(group.filter)
        for number in range(len(queries)) if group.queries is None else group.queries.tolist():
            search = _OneQuery(searched, call, queries[number], weighted(queries[number], statistics), group.k, sought, number, turn)
            found[number] = search.hits(), search.explain
    if not found:
        return TextsFound(hits=no_text_hits(0, shares=call.shares), explain=(), wordless=())
    return TextsFound(
        hits=joined_text_hits([found[number][0] for number in range(len(queries))]),
        explain=tuple(each for several in zip(*(found[number][1] for number in range(len(queries))), strict=True) for each in several),
        wordless=tuple(number for number, query in enumerate(queries) if not query.boosts),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextsFound:
    """Hits of a view; how its parts were searched, if that was asked for, by part and query; wordless: as in
    TextFound."""

    hits: TextHitColumns
    explain: tuple[TextExplain, ...]
    wordless: tuple[int, ...]


def check_text_call(call: TextSearchCall) -> None:
    """Raise InvalidArgument unless each query is in one group, every k is at least 1, and min_score is a number."""
    queries = len(call.asks)
    for group in call.groups:
        if group.k < 1:
            raise InvalidArgument(f"k is {group.k}, it must be at least 1", ErrorDetails(field="k"))
    listed = sorted(number for group in call.groups for number in (range(queries) if group.queries is None else group.queries.tolist()))
    if listed != list(range(queries)):
        raise InvalidArgument(f"the groups do not hold each of {queries} queries once", ErrorDetails(field="groups"))
    if call.min_score is not None and math.isnan(call.min_score):
        raise InvalidArgument("min_score is NaN, it must be a number", ErrorDetails(field="min_score"))


def estimated_texts_us(searched: TextView, call: TextSearchCall, enough_us: float, *, counts: bool) -> float:
    """Return the estimated time of a search of a view in one thread, in microseconds; only a part of it once it exceeds
    enough_us. counts: words are counted, too.

    The call has passed check_text_call. Raises as queries_of.
    """
    if chars_of(call.asks) > _CHARS_ON_LOOP:
        return math.inf
    queries = queries_of(searched, call.asks)
    total = _CALL_US + _QUERY_US * len(queries)
    for group in call.groups:
        if group.filter is not None and is_long(group.filter):
            return math.inf
        sought = None if group.filter is None else Sought.of(group.filter)
        for number in range(len(queries)) if group.queries is None else group.queries.tolist():
            if total > enough_us:
                return total
            total += _query_us(searched, queries[number], sought, counts=counts)
    return total


def estimated_count_us(searched: TextView, asks: Sequence[TextAsk], enough_us: float) -> float:
    """Return the estimated time of count_words in one thread, as estimated_texts_us does."""
    if chars_of(asks) > _CHARS_ON_LOOP:
        return math.inf
    total = _CALL_US
    for query in queries_of(searched, asks):
        total += _query_us(searched, query, None, counts=True)
        if total > enough_us:
            break
    return total


def _query_us(searched: TextView, query: TextQuery, sought: Sought | None, *, counts: bool) -> float:
    total = 0.0
    for part in searched.view.parts:
        if not part.live or part.texts is None:
            continue
        if sought is None:
            total += estimated_us(part.texts, query)
        else:
            hot = searched.context.hot.peek(part, sought.key, searched.view.seq)
            total += UNKNOWN_FILTER_US if hot is None else _MATCHED_US + estimated_us(part.texts, query, len(hot.positions))
        if counts and part.dead:
            total += _LIVING_US * sum(most_rows(part.texts, word) for word in query.boosts)
    return total


class _OneQuery:
    """One query of a batch in one view. explain: how its parts were searched, if that was asked for."""

    def __init__(
        self,
        searched: TextView,
        call: TextSearchCall,
        query: TextQuery,
        words: Sequence[WeightedWord],
        k: int,
        sought: Sought | None,
        number: int,
        turn: Turn,
    ) -> None:
        self._searched, self._call, self._query, self._words = searched, call, query, words
        self._k, self._sought, self._number, self._turn = k, sought, number, turn
        self.explain: list[TextExplain] = []

    def hits(self) -> TextHitColumns:
        """Return the best k points."""
        parts: list[tuple[SegmentView, TextHits]] = []
        for part in self._searched.view.parts:
            if part.live and part.texts is not None:
                self._turn.pause()
                found = self._part(part, part.texts)
                if len(found.rows):
                    parts.append((part, found))
        return self._best(parts)

    def _part(self, part: SegmentView, texts: TextPart) -> TextHits:
        context, tally = self._searched.context, TextTally()
        began = context.clock() - self._turn.rested_s
        eligible, count = self._eligible(part, texts)
        found = search_part(texts, self._query, self._words, k=self._k, ids=part.ids, eligible=eligible, turn=self._turn, tally=tally)
        if self._call.explain:
            self.explain.append(self._explained(part, tally, count, (context.clock() - self._turn.rested_s - began) * 1e6))
        return found

    def _eligible(self, part: SegmentView, texts: TextPart) -> tuple[Eligible, int]:
        """Return the rows that live and match, and their number."""
        view, context = self._searched.view, self._searched.context
        if self._sought is not None:
            hot, _ = matching(part, self._sought, view.seq, context, self._turn)
            if len(hot.positions) < len(part):
                among = hot.among(part, view.seq)
                known = hot.bytes_of_eligible
                eligible = hot.eligible(among)
                if hot.bytes_of_eligible != known:
                    context.hot.keep(part, self._sought.key, hot)
                return eligible, among.count
        return Eligible(len(part), mask=context.hot.living(part, texts, view.seq).alive), part.live

    def _best(self, parts: Sequence[tuple[SegmentView, TextHits]]) -> TextHitColumns:
        """Return the best k hits of all parts, with their shares if these were asked for."""
        if not parts:
            return no_text_hits(1, shares=self._call.shares)
        ids = concat_ids([part.ids.take(found.rows) for part, found in parts])
        scores = np.concatenate([found.scores for _, found in parts])
        order = text_hit_order(scores, ids)[: self._k]
        if self._call.min_score is not None:
            order = order[scores[order] >= self._call.min_score]
        shares = None
        if self._call.shares:
            listed = [each for part, found in parts for each in self._shares(part, found)]
            shares = tuple(listed[at] for at in order.tolist())
        held: IdArray = ids[order] if len(order) else id_array(())
        return TextHitColumns(counts=np.array([len(order)], dtype=np.int64), ids=held, scores=scores[order], shares=shares)

    def _shares(self, part: SegmentView, found: TextHits) -> list[tuple[WordShare, ...]]:
        """Return what each word gave to each hit of a part, the words that gave nothing left out."""
        assert part.texts is not None
        order = np.argsort(found.rows)
        shares = np.empty((len(self._words), len(order)), dtype=np.float64)
        shares[:, order] = word_scores(part.texts, self._words, found.rows[order])
        words = [each.word for each in self._words]
        return [
            tuple(WordShare(word.field, word.text, share, word.prefix) for word, share in zip(words, column, strict=True) if share)
            for column in shares.T.tolist()
        ]

    def _explained(self, part: SegmentView, tally: TextTally, eligible: int, us: float) -> TextExplain:
        return TextExplain(
            shard=self._searched.shard.number,
            segment=part.name if part.state is SegmentState.SEALED and part.name else part.state.value,
            state=part.state.value,
            query=self._number,
            rows=part.live,
            words=len(self._words),
            postings=tally.postings,
            plan=tally.plan,
            eligible=eligible,
            scored=tally.scored,
            us=us,
        )


def _completed(searched: TextView, queries: Sequence[TextQuery], statistics: TextStatistics, turn: Turn) -> TextStatistics:
    """Return the statistics with those of this view where a word or a field is missing."""
    missing = [word for word in words_of(queries) if word not in statistics.holding or word.field not in statistics.fields]
    if not missing:
        return statistics
    here = statistics_of_words(searched, missing, turn)
    fields = {**here.fields, **statistics.fields}
    # No more rows can hold a word than have text at all, or its weight would be below 0.
    holding = {word: min(here.holding[word], fields[word.field].rows) for word in missing}
    return TextStatistics(fields=fields, holding={**holding, **statistics.holding})


def _query_of(ask: TextAsk, texts: FieldTexts, turn: Turn) -> TextQuery:
    chars = chars_of((ask,))
    if chars <= _REMEMBERED_CHARS:
        return _remembered_short(ask, texts) if chars <= _REMEMBERED_SHORT_CHARS else _remembered_query(ask, texts)
    return query_of(ask, asked_fields(ask, texts.analyzers), turn)


def chars_of(asks: Iterable[TextAsk]) -> int:
    """Return how many characters the texts of these asks have."""
    return sum(sum(map(len, (ask.text, ask.prefix, *ask.must, *ask.must_not, *ask.phrases))) for ask in asks)


@lru_cache(maxsize=_REMEMBERED_SHORT)
def _remembered_short(ask: TextAsk, texts: FieldTexts) -> TextQuery:
    return query_of(ask, asked_fields(ask, texts.analyzers))


@lru_cache(maxsize=1_024)
def _remembered_query(ask: TextAsk, texts: FieldTexts) -> TextQuery:
    """Return the query of a short ask. A router asks for the counts of words first, and shards share a query."""
    return query_of(ask, asked_fields(ask, texts.analyzers))
