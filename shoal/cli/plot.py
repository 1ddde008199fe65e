"""Curves as characters, for a terminal. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SEVERAL = "*"
"""Drawn where the marks of several curves meet."""

_LEAST_COST = 0.1


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points (cost, recall) drawn as `mark`, one character. cost: above 0; recall: 0-1."""

    mark: str
    points: tuple[tuple[float, float], ...]


def plot(curves: Sequence[Curve], *, width: int = 60, height: int = 12, unit: str = "us") -> list[str]:
    """Lines of a grid: recall upwards, cost to the right by its logarithm. Nothing without points."""
    points = [(max(cost, _LEAST_COST), recall) for curve in curves for cost, recall in curve.points]
    if not points:
        return []
    costs = (min(cost for cost, _ in points), max(cost for cost, _ in points))
    lowest = min(0.9, math.floor(min(recall for _, recall in points) * 10) / 10)
    cells = [[" "] * width for _ in range(height)]
    for curve in curves:
        for cost, recall in curve.points:
            row = height - 1 - _cell(recall, lowest, 1.0, height)
            column = _cell(math.log(max(cost, _LEAST_COST)), math.log(costs[0]), math.log(costs[1]), width)
            cells[row][column] = curve.mark if cells[row][column] in (" ", curve.mark) else SEVERAL
    return [*_rows(cells, lowest), f"{'':>7}+{'-' * width}", _scale(costs, width, unit)]


def _cell(value: float, low: float, high: float, cells: int) -> int:
    """Which of `cells` equal parts of [low, high] a value lies in, the ends in the first and the last."""
    share = (value - low) / (high - low) if high > low else 0.0
    return min(cells - 1, max(0, round(share * (cells - 1))))


def _rows(cells: Sequence[Sequence[str]], lowest: float) -> list[str]:
    last = len(cells) - 1
    named = {0, last // 2, last}
    labels = (f"{1.0 - (1.0 - lowest) * at / max(1, last):.3f}" if at in named else "" for at in range(len(cells)))
    return [f"{label:>6} |{''.join(row)}".rstrip() for label, row in zip(labels, cells, strict=True)]


def _scale(costs: tuple[float, float], width: int, unit: str) -> str:
    low, high = (f"{cost:,.3g}" if cost < 10 else f"{cost:,.0f}" for cost in costs)
    return f"{'':>8}{low}{f'{high} {unit}':>{max(1, width - len(low))}}"
