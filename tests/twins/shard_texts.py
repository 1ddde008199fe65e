"""Text calls over the points of a twin shard, by brute force: every word of every text is looked at.

A word is what stands between spaces, in lower case. Scores are BM25 by the statistics that a call brings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shoal.core.fused_search import FieldSpans
from shoal.core.ids import ShardId
from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, id_array, id_order
from shoal.core.shard_calls import QueryGroup, k_of_queries
from shoal.core.text_calls import TextExplain, TextFound, TextHitColumns, TextSearchCall, WordShare
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.core.text_statistics import NO_STATISTICS, FieldStatistics, TextStatistics
from tests.twins.shard import TwinShard, matching

K1, B = 1.2, 0.75


def words_of(text: str) -> list[str]:
    return text.lower().split()


def texts_of(shard: TwinShard, point_id: PointId) -> dict[str, list[str]]:
    """Return the words of each text field of a point."""
    payload = payload_from_json(shard.points[point_id][1]) or {}
    texts = {field.name: payload.get(field.name) for field in shard.spec.text}
    return {name: words_of(text) if isinstance(text, str) else [] for name, text in texts.items()}


def fields_of(shard: TwinShard, ask: TextAsk) -> dict[str, float]:
    return dict(ask.fields) or {field.name: 1.0 for field in shard.spec.text}


def scored_words(shard: TwinShard, ask: TextAsk) -> dict[QueryWord, float]:
    """Return the words of an ask with their boosts."""
    texts = [ask.text, *ask.must, *ask.phrases]
    words = {word for text in texts for word in words_of(text)}
    found = {QueryWord(name, word): boost for name, boost in fields_of(shard, ask).items() for word in words}
    if ask.prefix:
        found |= {QueryWord(name, ask.prefix.lower(), True): boost for name, boost in fields_of(shard, ask).items()}
    return found


def often(words: Sequence[str], word: QueryWord) -> int:
    return sum(each.startswith(word.text) if word.prefix else each == word.text for each in words)


def counted(shard: TwinShard, asks: Sequence[TextAsk]) -> TextStatistics:
    """Return the statistics of a shard for these asks."""
    all_texts = [texts_of(shard, point_id) for point_id in shard.points]
    words = {word for ask in asks for word in scored_words(shard, ask)}
    lengths = {field.name: [len(texts[field.name]) for texts in all_texts if texts[field.name]] for field in shard.spec.text}
    return TextStatistics(
        fields={name: FieldStatistics(len(each), sum(each)) for name, each in lengths.items()},
        holding={word: sum(often(texts[word.field], word) > 0 for texts in all_texts) for word in words},
    )


def is_hit(texts: dict[str, list[str]], ask: TextAsk, fields: Sequence[str]) -> bool:
    def holds_all(text: str) -> bool:
        return all(any(word in texts[name] for name in fields) for word in words_of(text))

    def holds_phrase(text: str) -> bool:
        wanted = words_of(text)
        return any(texts[name][at : at + len(wanted)] == wanted for name in fields for at in range(len(texts[name])))

    asked = words_of(ask.text)
    if ask.match is Match.ALL and not holds_all(ask.text):
        return False
    if asked and not ask.must and not ask.phrases and not ask.prefix and not any(word in texts[name] for name in fields for word in asked):
        return False
    return (
        all(map(holds_all, ask.must))
        and all(map(holds_phrase, ask.phrases))
        and (not ask.prefix or any(each.startswith(ask.prefix.lower()) for name in fields for each in texts[name]))
        and not any(all(word in texts[name] for word in words_of(text)) for text in ask.must_not for name in fields)
    )


def shares_in(shard: TwinShard, point_id: PointId, ask: TextAsk, statistics: TextStatistics) -> list[WordShare]:
    """Return what each word gives to a point, in the order of words."""
    texts, shares = texts_of(shard, point_id), []
    for word, boost in sorted(scored_words(shard, ask).items()):
        count = often(texts[word.field], word)
        if count:
            field, holding = statistics.fields[word.field], statistics.holding[word]
            idf = math.log(1.0 + (field.rows - holding + 0.5) / (holding + 0.5))
            length = 1.0 - B + B * len(texts[word.field]) / field.mean_length
            shares.append(WordShare(word.field, word.text, boost * idf * count * (K1 + 1) / (count + K1 * length), word.prefix))
    return shares


def best_texts(
    shard: TwinShard, ask: TextAsk, group: QueryGroup, statistics: TextStatistics, min_score: float | None
) -> list[tuple[PointId, float, tuple[WordShare, ...]]]:
    fields = list(fields_of(shard, ask))
    found = []
    for point_id in matching(shard, group.filter):
        shares = shares_in(shard, point_id, ask, statistics)
        score = math.fsum(each.share for each in shares)
        if shares and is_hit(texts_of(shard, point_id), ask, fields) and (min_score is None or score >= min_score):
            found.append((point_id, score, tuple(shares)))
    return sorted(found, key=lambda hit: (-hit[1], id_order(hit[0])))[: group.k]


def found_texts(shards: dict[ShardId, TwinShard], call: TextSearchCall) -> TextFound:
    """Return the best hits over these shards."""
    statistics = call.statistics
    if statistics is None:
        statistics = sum((counted(shard, call.asks) for shard in shards.values()), NO_STATISTICS)
    hits: list[list[tuple[PointId, float, tuple[WordShare, ...]]]] = [[] for _ in call.asks]
    for group in call.groups:
        for number in range(len(call.asks)) if group.queries is None else group.queries.tolist():
            for shard in shards.values():
                hits[number] += best_texts(shard, call.asks[number], group, statistics, call.min_score)
    ks = np.broadcast_to(np.asarray(k_of_queries(call.groups, len(call.asks))), len(call.asks)).tolist()
    hits = [sorted(each, key=lambda hit: (-hit[1], id_order(hit[0])))[:k] for each, k in zip(hits, ks, strict=True)]
    flat = [hit for each in hits for hit in each]
    return TextFound(
        hits=TextHitColumns(
            counts=np.array([len(each) for each in hits], dtype=np.int64),
            ids=id_array(point_id for point_id, _, _ in flat),
            scores=np.array([score for _, score, _ in flat], dtype=np.float64),
            shares=tuple(shares for _, _, shares in flat) if call.shares else None,
        ),
        explain=tuple(explained_text(shard, number) for shard in shards for number in range(len(call.asks))) if call.explain else (),
        statistics=statistics if call.explain else None,
    )


def explained_text(shard: ShardId, query: int) -> TextExplain:
    return TextExplain(
        shard=shard.number,
        segment="growing",
        state="growing",
        query=query,
        rows=1,
        words=1,
        postings=1,
        plan="words first",
        eligible=1,
        scored=1,
        us=0.0,
    )


def marks_in(shard: TwinShard, ids: Sequence[PointId], ask: TextAsk) -> tuple[tuple[FieldSpans, ...], ...]:
    """Return where the words of an ask are in the texts of points; nothing for a point that does not exist."""
    return tuple(_marks(shard, each, ask) if each in shard.points else () for each in ids)


def _marks(shard: TwinShard, point_id: PointId, ask: TextAsk) -> tuple[FieldSpans, ...]:
    payload = payload_from_json(shard.points[point_id][1]) or {}
    found = []
    for name in sorted(fields_of(shard, ask)):
        words = [word for word in scored_words(shard, ask) if word.field == name]
        given, at = payload.get(name), 0
        text = given if isinstance(given, str) else ""
        spans = []
        for piece in text.split():
            begin = text.index(piece, at)
            at = begin + len(piece)
            if any(often([piece.lower()], word) for word in words):
                spans.append((begin, at))
        if spans:
            found.append(FieldSpans(name, tuple(spans)))
    return tuple(found)
