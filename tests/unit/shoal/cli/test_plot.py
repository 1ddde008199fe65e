import math

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cli.plot import Curve, plot

POINTS = st.lists(st.tuples(st.floats(0.0, 1e7), st.floats(0.0, 1.0)), min_size=1, max_size=8)


def grid(lines, width):
    """Cells above the axis, as (row, column) -> mark."""
    return {(row, column): mark for row, line in enumerate(lines[:-2]) for column, mark in enumerate(line[8:].ljust(width)) if mark != " "}


def nearest(value, cells):
    """Cell whose centre is nearest, by looking at each."""
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
