from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cli.recall import Curve, mean_recall, plot, verdict
from shoal.core.requests import MeasureRecall, TuneCollection
from tests.twins.router_answers import CURVE, MEASURED, client_with


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2, recall=0.9)
    return shoal


def test_a_curve_is_a_table_and_a_plot(filled):
    filled.cluster.curves = (CURVE, dataclasses.replace(CURVE, shard=1, segment="s2", real_queries=False))
    shown = filled("collection", "tune", "c", "-k", 5)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split() == ["SHARD", "SEGMENT", "INDEX", "ROWS", "BREADTH", "FETCH", "RECALL", "US", "OF", "EXACT"]
    assert lines[1].split() == ["a", "0", "s1", "HNSW16,Flat", "30000", "ef", "8", "10", "0.8100", "60", "1.5%"]
    assert lines[3].split() == ["a", "0", "s1", "HNSW16,Flat", "30000", "exact", "1.0000", "4100", "100.0%"]
    assert lines[4].split()[0] == "b"
    plotted = "\n".join(lines[lines.index("") :])
    assert "recall at 5 (upwards) against microseconds of one search; = exact search" in plotted
    assert "4,100 us" in plotted
    assert "*" in plotted
    assert shown.err == "b: too few real queries so far, so rows of the segment were used as queries\n"
    assert filled.clients[-1].mock.requests(TuneCollection) == [TuneCollection(name="c", k=5)]


def test_curves_for_programs_and_none_at_all(filled):
    (curve,) = filled("collection", "tune", "c", "--json").document
    assert curve["points"][0] == {"breadth": 8, "fetch": 10, "recall": 0.81, "us": 60.0}
    assert (curve["segment"], curve["exact_us"], curve["real_queries"]) == ("s1", 4100.0, True)
    filled.cluster.curves = ()
    assert filled("collection", "tune", "c").out.startswith("no segment of c is searched by an index")
    assert filled("collection", "tune", "c", "--json").document == []


def test_queries_are_read_from_a_file(filled, tmp_path):
    file = tmp_path / "queries.npy"
    np.save(file, np.arange(6, dtype=np.float64).reshape(3, 2))
    assert filled("collection", "tune", "c", "--queries", file).code == 0
    (request,) = filled.clients[-1].mock.requests(TuneCollection)
    assert request.queries.tolist() == [[0, 1], [2, 3], [4, 5]]
    np.save(file, np.zeros((4_097, 2)))
    shown = filled("collection", "tune", "c", "--queries", file)
    assert shown.code != 0
    assert "4097 rows, at most 4096" in shown.err


def test_more_curves_than_letters_are_still_drawn(filled):
    filled.cluster.curves = tuple(dataclasses.replace(CURVE, segment=f"s{at}") for at in range(40))
    assert filled("collection", "tune", "c").out.splitlines()[-20].split()[0] == "+"


def test_recall_is_a_table_and_a_sentence(filled):
    shown = filled("collection", "recall", "c", "--sample", 7)
    assert shown.out.splitlines() == [
        "SHARD  QUERIES  OF            RECALL  LOWEST  SEARCH US  EXACT US",
        "    0      100  real queries  0.9620  0.7000        150      4000",
        "",
        "recall 0.962 over 100 queries, target 0.9",
    ]
    filled("collection", "recall", "c", "-k", 3, "--target", 0.5)
    assert filled.clients[-2].mock.requests(MeasureRecall) == [MeasureRecall(name="c", k=10, sample=7, recall=0.9)]
    assert filled.clients[-1].mock.requests(MeasureRecall) == [MeasureRecall(name="c", k=3, sample=100, recall=0.5)]


def test_recall_for_programs(filled):
    document = filled("collection", "recall", "c", "--json").document
    assert (document["collection"], document["k"], document["target"], document["recall"]) == ("c", 10, 0.9, pytest.approx(0.962))
    assert document["shards"] == [dataclasses.asdict(MEASURED)]
    filled.cluster.measured = ()
    assert filled("collection", "recall", "c", "--json").document["recall"] is None


def test_the_verdict_weighs_shards_by_their_queries():
    one, other = MEASURED, dataclasses.replace(MEASURED, shard=1, queries=300, recall=0.5, real_queries=False)
    assert mean_recall([one, other]) == pytest.approx((100 * 0.962 + 300 * 0.5) / 400)
    assert verdict([one], 0.97) == "recall 0.962 over 100 queries, target 0.97"
    assert "below it; `shoal collection tune`" in verdict([one], 0.98)
    assert "below it" in verdict([one, other], 0.9)
    assert "were used as queries" in verdict([other], 0.5)
    assert verdict([dataclasses.replace(one, queries=1)], 0.9).startswith("recall 0.962 over 1 query,")
    assert verdict([dataclasses.replace(one, queries=0)], 0.9) == "nothing was measured: the collection holds no points"


@pytest.mark.parametrize(
    "words", [["tune", "nope"], ["recall", "nope"], ["recall", "c", "--target", "2"], ["recall", "c", "--sample", "0"]]
)
def test_errors_are_one_line(filled, words):
    ended = filled("collection", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)


POINTS = st.lists(st.tuples(st.floats(0.0, 1e7), st.floats(0.0, 1.0)), min_size=1, max_size=8)


def grid(lines, width):
    """Return the marks above the axis: (row, column) -> mark."""
    return {(row, column): mark for row, line in enumerate(lines[:-2]) for column, mark in enumerate(line[8:].ljust(width)) if mark != " "}


def nearest(value, cells):
    """Return the cell whose centre is nearest. Compares every cell."""
    return min(range(cells), key=lambda at: abs(at - value * (cells - 1)))


@settings(max_examples=100)
@given(st.lists(POINTS, min_size=1, max_size=3), st.integers(8, 40), st.integers(3, 15))
def test_every_point_stands_in_the_cell_nearest_to_it(curves, width, height):
    lines = plot([Curve(mark="abc"[at], points=tuple(points)) for at, points in enumerate(curves)], width=width, height=height)
    assert len(lines) == height + 2
    drawn = grid(lines, width)
    costs = [math.log(max(cost, 0.1)) for points in curves for cost, _ in points]
    lowest = min(0.9, math.floor(min(recall for points in curves for _, recall in points) * 10) / 10)
    left, span = min(costs), max(costs) - min(costs)
    expected = 0
    for at, points in enumerate(curves):
        for cost, recall in points:
            share = (math.log(max(cost, 0.1)) - left) / span if span else 0.0
            row, column = height - 1 - nearest((recall - lowest) / (1 - lowest), height), nearest(share, width)
            found = [drawn.get((row + up, column + aside)) for up in (-1, 0, 1) for aside in (-1, 0, 1)]
            assert "abc"[at] in found or "*" in found
            expected += 1
    assert 1 <= len(drawn) <= expected


def test_a_plot_as_it_is_shown():
    curves = [Curve(mark="=", points=((1000.0, 1.0),)), Curve(mark="a", points=((10.0, 0.5), (100.0, 1.0)))]
    assert plot(curves, width=21, height=5) == [
        " 1.000 |          a         =",
        "       |",
        " 0.750 |",
        "       |",
        " 0.500 |a",
        "       +---------------------",
        "        10           1,000 us",
    ]


def test_marks_that_meet_are_one_star_and_one_point_is_enough():
    assert "*" in "".join(plot([Curve(mark="a", points=((5.0, 0.9),)), Curve(mark="b", points=((5.0, 0.9),))]))
    assert plot([Curve(mark="a", points=())]) == []
    assert plot([]) == []
    assert "0.1" in plot([Curve(mark="a", points=((0.0, 0.2),))])[-1]
