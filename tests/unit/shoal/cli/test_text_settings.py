"""Text fields and defaults of searches on the command line."""

from __future__ import annotations

import pytest

from shoal.cli.text_settings import defaults_in_words, fields_in_words, text_fields_of
from shoal.core.errors import InvalidArgument
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, text_fields_from_input
from tests.twins.router_answers import client_with


@pytest.mark.parametrize(
    ("texts", "fields"),
    [
        (None, {}),
        (["body"], {"body": "auto"}),
        (["body=cjk", "a.b=raw"], {"body": "cjk", "a.b": "raw"}),
        (["body=auto,stem=german,fold=no"], {"body": {"kind": "auto", "stem": "german", "fold": False}}),
        (["body=auto, fold=yes"], {"body": {"kind": "auto", "fold": True}}),
        (['body={"kind": "auto", "own_words": ["TiKV", "a=b"]}'], {"body": {"kind": "auto", "own_words": ["TiKV", "a=b"]}}),
    ],
)
def test_fields_are_read(texts, fields):
    assert text_fields_of(texts) == fields
    assert len(text_fields_from_input(fields)) == len(fields)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["=auto"], "names no field"),
        ([""], "names no field"),
        (["body="], "has no kind"),
        (["body", "body=raw"], "names the field 'body' again"),
        (["body=auto,stem"], "has 'stem'"),
        (["body=auto,stop_words=a"], "has 'stop_words=a'"),
        (["body=auto,fold=no,fold=no"], "has 'fold=no'"),
        (["body=auto,fold=maybe"], "has fold 'maybe', it must be yes or no"),
        (["body={"], "is not JSON behind its name"),
        (['body={"kind": "auto", "kind": "raw"}'], "is not JSON behind its name"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(texts, words):
    with pytest.raises(InvalidArgument, match=words) as raised:
        text_fields_of(texts)
    assert "FIELD=KIND" in raised.value.message
    assert raised.value.details.field == "text"


def test_words_for_people():
    fields = text_fields_from_input({"a": "raw", "b": {"kind": "auto", "stem": "none", "fold": False, "own_words": ["x", "y"]}})
    assert fields_in_words(fields) == "a=raw  b=auto,stem=none,fold=no,2 own words"
    assert defaults_in_words(SearchDefaults()) == "zscore; dense 0.5, text 0.5"
    rrf = SearchDefaults(fusion=Fusion(kind=FusionKind.RRF, c=30), dense_weight=0.0, text_weight=2.0, boosts=(("title", 2.0),))
    assert defaults_in_words(rrf) == "rrf, c 30; dense 0, text 1, title x 2"


def test_text_fields_from_creation_to_drop(shoal):
    made = shoal("collection", "create", "c", "--dim", 2, "--text", "title", "--text", "body=auto,stem=german")
    assert (made.code, made.out) == (0, "created c: dim 2, l2, 1 shard, index auto, recall 0.95, text body, title\n")
    assert "text  body=auto,stem=german  title=auto" in _shown(shoal)
    assert "searches  zscore; dense 0.5, text 0.5" in _shown(shoal)
    altered = shoal("collection", "alter", "c", "--text", "lead=raw", "--drop-text", "title")
    assert (altered.code, altered.out) == (0, "altered c: index auto, recall 0.95, text body, lead\n")
    described = shoal("collection", "show", "c", "--json").document
    assert described["text"] == {"body": {"kind": "auto", "stem": "german"}, "lead": {"kind": "raw"}}
    assert described["search_defaults"] == {"fusion": "zscore", "c": 60.0, "dense_weight": 1.0, "text_weight": 1.0, "boosts": {}}
    altered = shoal("collection", "alter", "c", "--drop-text", "body", "--drop-text", "lead", "--json").document
    assert altered["text"] == {}
    assert "text" not in shoal("collection", "show", "c", "--json").document


def test_defaults_of_searches_are_changed_and_taken_back(shoal):
    shoal("collection", "create", "c", "--dim", 2, "--text", "title")
    altered = shoal("collection", "alter", "c", "--search-defaults", '{"fusion": "rrf", "boosts": {"title": 2}}')
    assert altered.out == "altered c: index auto, recall 0.95, searches rrf, c 60; dense 0.5, text 0.5, title x 2\n"
    assert shoal.cluster.specs["c"].defaults.boosts == (("title", 2.0),)
    shoal("collection", "alter", "c", "--drop-text", "title")
    assert shoal("collection", "show", "c", "--json").document["search_defaults"]["fusion"] == "rrf"
    document = shoal("collection", "alter", "c", "--search-defaults", "{}", "--json").document
    assert (document["text"], document["search_defaults"]["fusion"]) == ({}, "zscore")
    for bad, said in (
        ("{", "--search-defaults is not JSON"),
        ("[1]", "must be a JSON object, not list"),
        ('{"x": 1}', "search_defaults has 'x'"),
    ):
        ended = shoal("collection", "alter", "c", "--search-defaults", bad)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
        assert said in ended.err


def _shown(shoal):
    rows = [line.split(maxsplit=1) for line in shoal("collection", "show", "c").out.splitlines()]
    return ["  ".join(row) for row in rows]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--drop-text", "nothing"], "--drop-text 'nothing' is no text field, there are title"),
        (["--drop-text", "title", "--text", "title=raw"], "--drop-text 'title' is given by --text, too"),
        (["--text", "title=automatic"], "analyzer is 'automatic', it must be one of auto, cjk, words, raw"),
        (["--text", "title=auto,stem=klingon"], "stem is 'klingon'"),
        (["--text", "a..b"], "'a..b'"),
    ],
)
def test_alterations_that_cannot_be_are_one_line_and_change_nothing(shoal, words, said):
    shoal("collection", "create", "c", "--dim", 2, "--text", "title")
    ended = shoal("collection", "alter", "c", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert said in ended.err
    assert shoal.cluster.specs["c"].text[0].analyzer == AnalyzerOptions(kind=AnalyzerKind.AUTO)


def test_the_sdk_takes_mappings_and_values(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", 2, text={"t": "auto"}, search_defaults={"text_weight": 3, "boosts": {"t": 2}})
        spec = client.describe_collection("c").spec
        assert spec.defaults == SearchDefaults(text_weight=3.0, boosts=(("t", 2.0),))
        client.alter_collection("c", text=spec.text, search_defaults=SearchDefaults(boosts=(("t", 4.0),)))
        assert client.describe_collection("c").spec.defaults.boosts == (("t", 4.0),)
        for bad, words in (
            ({"fusion": "dbsf"}, "search_defaults has fusion 'dbsf'"),
            ({"boosts": {"t": True}}, "search_defaults has a boost True of 't'"),
            ({"weights": 1}, "search_defaults has 'weights'"),
            (7, "search_defaults is 7"),
        ):
            with pytest.raises(InvalidArgument, match=words) as raised:
                client.alter_collection("c", search_defaults=bad)
            assert raised.value.details.field == "search_defaults"
        with pytest.raises(InvalidArgument, match="boost of 'u', the text fields are t"):
            client.create_collection("d", 2, text={"t": "auto"}, search_defaults={"boosts": {"u": 2}})
        with pytest.raises(InvalidArgument, match="text is 'body', it must be a mapping"):
            client.create_collection("d", 2, text="body")
        assert list(shoal.cluster.specs) == ["c"]
