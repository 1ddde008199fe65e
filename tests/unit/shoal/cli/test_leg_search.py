"""`shoal search` by words and with several legs: what reaches the router, and what is printed."""

from __future__ import annotations

import pytest

from shoal.core.fused_search import FusedSearch, GroupBy
from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.requests import Search
from shoal.core.text_query import Match, TextAsk
from tests.twins.fused_answers import TEXT_EXPLAINED
from tests.twins.router_answers import client_with


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
        payloads = [{"t": "red fish 红鱼", "doc": "a"}, {"t": "blue fish", "doc": "b"}, None]
        client.upsert("c", [7, "b", 9], [[0, 0], [3, 4], [6, 8]], payloads)
    return shoal


def asked(shoal):
    (request,) = shoal.clients[-1].mock.requests(FusedSearch)
    return request


def test_a_text_has_the_rank_of_its_leg_in_a_column(filled):
    found = filled("search", "c", "--text", "red fish")
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines() == [
        "RANK  ID  SCORE  TEXT   PAYLOAD",
        '   1  7       2  1 (2)  {"t": "red fish 红鱼", "doc": "a"}',
        '   2  b       1  2 (1)  {"t": "blue fish", "doc": "b"}',
    ]
    assert asked(filled).legs[0].asks == (TextAsk(text="red fish"),)
    assert filled("search", "c", "--text", "red fish", "--id-only").out == "7\nb\n"
    assert filled("search", "c", "--text", "red", "--id-only", "--json").document == [7]


def test_a_text_without_a_word_to_search_for_finds_nothing_and_that_is_said(filled):
    for options in ((), ("--json",), ("--id-only",)):
        found = filled("search", "c", "--text", "?!", *options)
        assert found.code == 0
        assert "the text holds no word to search for, only stop words or punctuation: leg text found nothing" in " ".join(found.err.split())


def test_a_document_with_explanations_names_the_legs_without_words(filled):
    document = filled("search", "c", "--text", "?!", "--vector", "[3, 4]", "--json", "--explain").document
    assert (document["wordless"], len(document["hits"])) == (["text"], 3)
    assert filled("search", "c", "--text", "red", "--json", "--explain").document["wordless"] == []


def test_a_vector_and_a_text_have_a_column_each_and_groups_one(filled):
    lines = filled("search", "c", "--vector", "[3, 4]", "--text", "red", "--group-by", "doc", "-k", 2).out.splitlines()
    assert lines == [
        "RANK  ID      SCORE  DENSE    TEXT   GROUP  PAYLOAD",
        '   1  7   0.0325225  2 (-25)  1 (1)  "a"    {"t": "red fish 红鱼", "doc": "a"}',
        '   2  b   0.0163934  1 (-0)          "b"    {"t": "blue fish", "doc": "b"}',
    ]
    assert asked(filled).group_by == GroupBy(path="doc", size=1)


def test_highlights_are_a_line_and_wide_characters_take_two_columns(filled):
    lines = filled("search", "c", "--text", "fish 鱼", "--group-by", "t", "--highlight").out.splitlines()
    assert lines == [
        "RANK  ID  SCORE  TEXT   GROUP            FOUND",
        '   1  7       2  1 (2)  "red fish 红鱼"  t: red fish 红鱼',
        '   2  b       1  2 (1)  "blue fish"      t: blue fish',
    ]
    assert filled("search", "c", "--text", "鱼", "--highlight", "--json").document[0]["highlights"] == {"t": [[10, 11]]}


def test_a_document_has_what_a_hit_tells(filled):
    document = filled("search", "c", "--vector", "[0, 0]", "--text", "red", "-k", 1, "--json").document
    legs = {"dense": {"rank": 1, "score": 0.0}, "text": {"rank": 1, "score": 1.0}}
    (hit,) = document
    assert (hit["id"], hit["payload"]["doc"], hit["legs"], hit["group"], hit["highlights"]) == (7, "a", legs, None, {})


def test_all_that_can_be_asked_reaches_the_router(filled):
    words = ["--text", "red", "--match", "all", "--must", "a", "--must", "b", "--must-not", "GPU", "--phrase", "in memory"]
    words += ["--prefix", "re", "--boost", "title=2", "--boost", "a=b=.5", "--weight", "text=.6", "--weight", "dense=0"]
    words += ["--min-score", "text=3", "--fusion", "rrf", "--c", 30, "--candidates", 50, "--offset", 40, "--threshold", 0]
    words += ["--diversity", ".25", "--group-by", "doc", "--group-size", 2, "--highlight", "--filter", "doc=a", "--recall", 0.5]
    assert filled("search", "c", "--vector", "[0, 0]", *words).code == 0
    request = asked(filled)
    dense, text = request.legs
    assert (dense.weight, dense.min_score, text.weight, text.min_score) == (0.0, None, 0.6, 3.0)
    assert text.asks == (
        TextAsk(
            text="red",
            fields=(("a=b", 0.5), ("title", 2.0)),
            match=Match.ALL,
            must=("a", "b"),
            must_not=("GPU",),
            phrases=("in memory",),
            prefix="re",
        ),
    )
    assert request.fusion == Fusion(kind=FusionKind.RRF, c=30.0)
    assert (request.candidates, request.offset, request.threshold, request.diversity) == (50, 40, 0.0, 0.25)
    assert (request.group_by, request.highlight, request.groups[0].k) == (GroupBy(path="doc", size=2), True, 10)


def test_what_is_not_given_is_not_said(filled):
    assert filled("search", "c", "--prefix", "re").code == 0
    request = asked(filled)
    assert (request.fusion, request.candidates, request.threshold, request.group_by, request.highlight) == (None, 100, None, None, False)
    assert (request.legs[0].asks, request.legs[0].weight) == ((TextAsk(prefix="re"),), None)
    assert filled("search", "c", "--vector", "[0, 0]").code == 0
    assert len(filled.clients[-1].mock.requests(Search)) == 1


def test_a_page_goes_on_counting(filled):
    lines = filled("search", "c", "--vector", "[0, 0]", "--offset", 1).out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["2", "b"], ["3", "9"]]


def test_explain_tells_how_scores_came_about_behind_the_hits(filled):
    out = filled("search", "c", "--vector", "[0, 0]", "--text", "red", "--explain").out
    tables = [table.splitlines() for table in out.split("\n\n")]
    assert [table[0].split()[:3] for table in tables] == [
        ["RANK", "ID", "SCORE"],
        ["RANK", "ID", "SCORE"],
        ["LEG", "HITS", "PADDED"],
        ["SHARD", "SEGMENT", "STATE"],
        ["SHARD", "SEGMENT", "STATE"],
    ]
    assert [cell.strip() for cell in tables[1][1].split("  ") if cell.strip()][-2:] == ["sum of 2", "t:x 0.5"]
    assert tables[2][1].split() == ["dense", "3", "0", "0", "2", "0.5", "321"]
    assert [cell.strip() for cell in tables[3][1].split("  ") if cell.strip()][3:7] == ["30000", "2", "512", TEXT_EXPLAINED.plan]
    assert "index, then filter" in tables[4][1]
    explain = filled("search", "c", "--text", "red", "--explain", "--json").document["explain"]
    assert {name: len(told) for name, told in explain.items()} == {"legs": 1, "hits": 1, "texts": 1, "segments": 1}


def test_a_search_that_may_have_missed_hits_says_so(filled):
    ended = filled("search", "c", "--text", "fish", "-k", 1, "--candidates", 1, "--threshold", 5)
    assert (ended.code, len(ended.out.splitlines()), ended.err) == (0, 1, "")
    found = filled("search", "c", "--vector", "[0, 0]", "--candidates", 3, "-k", 3, "--threshold", -30)
    assert found.err == ""
    short = filled("search", "c", "--vector", "[0, 0]", "--candidates", 2, "-k", 1, "--offset", 1, "--min-score", "dense=-30")
    assert short.code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--text", ""], 1, "asks for nothing"),
        (["--text", "x", "--weight", "text"], 1, "--weight is 'text', write NAME=NUMBER, such as text=0.6"),
        (["--text", "x", "--weight", "text=much"], 1, "--weight is 'text=much', and 'much' is no number"),
        (["--text", "x", "--weight", "=1"], 1, "--weight is '=1'"),
        (["--text", "x", "--weight", "text=1", "--weight", "text=2"], 1, "--weight names 'text' twice"),
        (["--text", "x", "--weight", "dense=1"], 1, "--weight names the leg 'dense', the search has text"),
        (["--text", "x", "--min-score", "words=1"], 1, "--min-score names the leg 'words', the search has text"),
        (["--text", "x", "--weight", "text=-1"], 1, "weight is -1.0, it must be a number of at least 0"),
        (["--text", "x", "--boost", "title=0"], 1, "the boost of field 'title' is 0.0"),
        (["--text", "x", "--match", "some"], 1, "match is 'some'"),
        (["--text", "x", "--fusion", "dbsf"], 1, "fusion is 'dbsf', it must be one of zscore, minmax, rrf"),
        (["--text", "x", "--c", "60"], 1, "c is 60.0, but it belongs to fusion='rrf'"),
        (["--text", "x", "--offset", "91"], 1, "k + offset is 101, but candidates is 100"),
        (["--text", "x", "--diversity", "2"], 1, "diversity is 2.0"),
        (["--text", "x", "--candidates", "0"], 1, "candidates is 0"),
        (["--text", "x", "--group-by", "t", "--group-size", "0"], 1, "group_size is 0"),
        (["--text", "x", "--group-size", "2"], 1, "group_size is 2, but there are no groups"),
        (["--text", "x", "--radius", "1"], 1, "radius belongs to a search by one vector"),
        (["--vector", "[0, 0]", "--highlight"], 1, "nothing is searched by text"),
        (["--vector", "[0", "--text", "x"], 1, "--vector is not JSON"),
        (["--must-not", "x"], 1, "it has must_not only"),
        (["--weight", "text=1"], 2, "give either --vector or --vectors"),
        (["--highlight"], 2, "give either --vector or --vectors"),
        (["--vectors", "q.npy", "--text", "x"], 2, "--vectors searches by vectors only"),
        (["--text", "x", "--offset", "many"], 2, "'--offset'"),
    ],
)
def test_bad_input_is_one_line(filled, words, code, said):
    ended = filled("search", "c", *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1
