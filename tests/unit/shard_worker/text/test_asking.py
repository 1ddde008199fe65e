"""What a user asks, as a query: clauses by example, and hits against a look at the words of each document."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.shard_worker.text.analysis.analyzer import Analyzer, analyzer_of
from shoal.shard_worker.text.asking import asked_fields, query_of
from shoal.shard_worker.text.indexing import IndexedText
from shoal.shard_worker.text.query import Clause, Phrase, TextQuery, Together
from tests.twins.texts import TextsTwin

AUTO = analyzer_of(AnalyzerOptions())
RAW = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.RAW))
WORDS = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.WORDS))
CJK = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.CJK))
BODY: Mapping[str, Analyzer] = {"body": AUTO}
BOTH: Mapping[str, Analyzer] = {"body": AUTO, "title": AUTO}


def made(ask: TextAsk, analyzers: Mapping[str, Analyzer] = BODY) -> TextQuery:
    return query_of(ask, asked_fields(ask, analyzers))


def word(text: str, field: str = "body", *, prefix: bool = False) -> QueryWord:
    return QueryWord(field, text, prefix)


def clause(*words: str, field: str = "body") -> Clause:
    return Clause(tuple(word(text, field) for text in words))


def test_words_of_the_text_are_scored_and_any_is_enough() -> None:
    query = made(TextAsk(text="Quantized graphs"))
    words = ("quantiz", "graph", "quantized_graphs", "quantizedgraph")
    assert (dict(query.boosts), query.required, query.excluded) == (dict.fromkeys(map(word, words), 1.0), (), ())


def test_a_word_that_comes_twice_counts_twice() -> None:
    assert made(TextAsk(text="a b a")).boosts == {word("a"): 2.0, word("b"): 1.0}


def test_all_words_are_clauses_and_forms_of_one_word_are_one() -> None:
    query = made(TextAsk(text="RocksDB tuning", match=Match.ALL))
    assert query.required == (clause("rocksdb", "rock", "db"), clause("tune"))


def test_fields_have_their_boosts_and_a_word_may_be_in_any_of_them() -> None:
    query = made(TextAsk(text="a b", fields=(("title", 2.0), ("body", 0.5)), match=Match.ALL), BOTH)
    assert query.boosts == {word("a"): 0.5, word("b"): 0.5, word("a", "title"): 2.0, word("b", "title"): 2.0}
    assert query.required == (Clause((word("a"), word("a", "title"))), Clause((word("b"), word("b", "title"))))


def test_without_fields_all_are_asked_and_with_one_only_that() -> None:
    assert made(TextAsk(text="a"), BOTH).boosts == {word("a"): 1.0, word("a", "title"): 1.0}
    assert made(TextAsk(text="a", fields=(("title", 3),)), BOTH).boosts == {word("a", "title"): 3.0}


def test_all_words_of_each_must_are_required_and_scored() -> None:
    query = made(TextAsk(must=("a b", "c")))
    assert (set(query.boosts), query.required) == ({word("a"), word("b"), word("c")}, (clause("a"), clause("b"), clause("c")))


def test_beside_must_one_word_of_the_text_is_still_needed() -> None:
    assert made(TextAsk(text="a b", must=("c",))).required == (clause("c"), clause("a", "b"))


def test_what_must_not_be_there_is_not_scored_and_has_to_be_in_one_field() -> None:
    query = made(TextAsk(text="a", must_not=("b", "c d")), BOTH)
    assert set(query.boosts) == {word("a"), word("a", "title")}
    assert query.excluded == (
        Clause((word("b"), word("b", "title"))),
        Clause((Together((clause("c"), clause("d"))), Together((clause("c", field="title"), clause("d", field="title"))))),
    )


def test_a_phrase_is_required_in_one_field_and_its_words_are_scored() -> None:
    query = made(TextAsk(phrases=("in-memory replicas",)), BOTH)
    words = ("in", "memori", "replica")
    assert query.required == (Clause((Phrase("body", words, (0, 1, 2)), Phrase("title", words, (0, 1, 2)))),)
    assert set(query.boosts) == {word(text, field) for text in words for field in BOTH}


def test_a_phrase_of_one_han_character_is_a_prefix() -> None:
    query = made(TextAsk(phrases=("库",)))
    assert query.required == (Clause((word("库", prefix=True),)),)
    assert query.boosts == {word("库", prefix=True): 1.0}


def test_a_prefix_is_compared_as_words_are_and_a_stem_counts_for_its_word() -> None:
    assert made(TextAsk(prefix="Quanti")).required == (Clause((word("quanti", prefix=True),)),)
    assert made(TextAsk(prefix="quantization")).required == (Clause((word("quantization", prefix=True), word("quantiz"))),)
    assert made(TextAsk(prefix="tidb_mem")).required == (Clause((word("tidb_mem", prefix=True),)),)


def test_a_prefix_without_spaces_is_a_phrase_and_in_raw_fields_any_text() -> None:
    query = made(TextAsk(prefix="数据库"), {"body": CJK})
    assert query.required == (Clause((Phrase("body", ("数据", "据库"), (0, 1)),)),)
    assert made(TextAsk(prefix="docs/a b"), {"body": RAW}).required == (Clause((word("docs/a b", prefix=True),)),)


def test_a_prefix_of_several_words_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="prefix is 'in mem', which is several words in field 'body'") as raised:
        made(TextAsk(prefix="in mem"))
    assert raised.value.details.field == "prefix"


def test_one_han_character_stands_for_the_words_that_begin_with_it() -> None:
    assert made(TextAsk(text="库")).boosts == {word("库", prefix=True): 1.0}


def test_the_one_word_of_a_raw_field_stands_for_all_words_of_the_text() -> None:
    query = made(TextAsk(text="a b", match=Match.ALL), {"body": AUTO, "tag": RAW})
    assert query.required == (Clause((word("a"), word("a b", "tag"))), Clause((word("b"), word("a b", "tag"))))


@pytest.mark.parametrize("ask", [TextAsk(text="..."), TextAsk(must=("?!",)), TextAsk(phrases=("- -",)), TextAsk(prefix="*")])
def test_texts_without_words_make_a_query_without_words(ask: TextAsk) -> None:
    assert made(ask) == TextQuery(boosts={})


def test_texts_without_words_put_no_condition_on_others() -> None:
    assert made(TextAsk(text="a", must=("!",), must_not=("?",), phrases=("-",))) == made(TextAsk(text="a"))


def test_stop_words_are_no_words() -> None:
    analyzer = analyzer_of(AnalyzerOptions(stop_words=("the",)))
    query = made(TextAsk(text="the cat", match=Match.ALL, must=("the",)), {"body": analyzer})
    assert query == TextQuery(boosts={word("cat"): 1.0}, required=(clause("cat"),))


def test_too_many_words_are_refused() -> None:
    words = " ".join(f"w{at}" for at in range(4_097))
    with pytest.raises(InvalidArgument, match="a query has 4097 words, at most 4096"):
        made(TextAsk(text=words), {"body": WORDS})
    with pytest.raises(InvalidArgument, match="must_not has a text of 4,097 words, at most 4,096") as raised:
        made(TextAsk(text="a", must_not=(words,)), {"body": WORDS})
    assert raised.value.details.field == "must_not"


def _has_phrase(listed: list[str], wanted: list[str]) -> bool:
    return any(listed[at : at + len(wanted)] == wanted for at in range(len(listed)))


def _is_hit(ask: TextAsk, document: Mapping[str, list[str]]) -> bool:
    """Tell whether a document of plain words is a hit, by the words of TextAsk."""
    fields = [document[name] for name, _ in ask.fields] if ask.fields else list(document.values())

    def somewhere(text: str) -> bool:
        return any(text in listed for listed in fields)

    text = ask.text.split()
    enough = all(map(somewhere, text)) if ask.match is Match.ALL else not text or any(map(somewhere, text))
    return (
        enough
        and all(somewhere(each) for must in ask.must for each in must.split())
        and not any(all(each in listed for each in text.split()) for text in ask.must_not for listed in fields)
        and all(any(_has_phrase(listed, phrase.split()) for listed in fields) for phrase in ask.phrases)
        and (not ask.prefix or any(each.startswith(ask.prefix) for listed in fields for each in listed))
    )


def _drawn(random: Random, most: int) -> str:
    return " ".join(random.choices(("ab", "b", "c", "d", "ef"), k=random.randint(1, most)))


def _several(random: Random, most: int) -> tuple[str, ...]:
    return tuple(_drawn(random, most) for _ in range(random.choice((0, 0, 0, 1, 2))))


@pytest.mark.parametrize("seed", range(300))
def test_hits_are_the_documents_that_hold_what_was_asked(seed: int) -> None:
    random = Random(seed)
    documents = {at: {name: _drawn(random, 6).split() for name in BOTH} for at in range(30)}
    ask = TextAsk(
        text=_drawn(random, 3) if random.random() < 0.7 else "",
        fields=random.choice(((), (("title", 2.0),), (("body", 1.0), ("title", 0.5)))),
        match=random.choice(list(Match)),
        must=_several(random, 2),
        must_not=_several(random, 2),
        phrases=_several(random, 3),
        prefix=random.choice(("", "", "", "a", "e", "ab")),
    )
    if not (ask.text or ask.must or ask.phrases or ask.prefix):
        ask = TextAsk(text="ab")
    twin = TextsTwin({at: {name: IndexedText(words, range(len(words))) for name, words in each.items()} for at, each in documents.items()})
    found = twin.search(made(ask, dict.fromkeys(BOTH, WORDS)), len(documents))
    assert {point_id for point_id, _ in found} == {at for at, each in documents.items() if _is_hit(ask, each)}
