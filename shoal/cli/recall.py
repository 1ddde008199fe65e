"""The commands `shoal collection tune` (what recall costs) and `recall` (the recall that searches have now)."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.matrix_files import AnyArray, matrix_of
from shoal.cli.vector_options import UsingOption
from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.tuning_calls import SegmentCurve, ShardRecall

KOption = Annotated[int, typer.Option("-k", "--k", help="Hits for each query.")]

_MARKS = string.ascii_lowercase
_EXACT = "="
_TOLERANCE = 0.01


def tune(
    ctx: typer.Context,
    name: NameArgument,
    *,
    k: KOption = 10,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries like those to come: a matrix (n, dim), .npy, .fvecs or .bvecs.")
    ] = None,
    using: UsingOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure recall against cost now, segment by segment, and keep it for later searches (600 s at most, unless
    --timeout).
    """
    given = None if queries is None else _queries_in(queries)
    with client_of(ctx, address, timeout) as client:
        curves = client.tune(name, k, given, using=using)
    if as_json:
        output.document([dataclasses.asdict(curve) for curve in curves])
        return
    if not curves:
        output.line(f"no segment of {name} is searched by an index: every search is exact, at recall 1")
        return
    _show_curves(curves, k)


def recall(
    ctx: typer.Context,
    name: NameArgument,
    *,
    sample: Annotated[int, typer.Option(metavar="N", help="Queries for each shard.")] = 100,
    k: KOption = 10,
    target: Annotated[float | None, typer.Option(metavar="R", help="Search with this target; the collection's own without it.")] = None,
    using: UsingOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the recall that searches of a live collection have, at low priority (600 s at most, unless --timeout)."""
    with client_of(ctx, address, timeout) as client:
        wanted = client.describe_collection(name).spec.recall if target is None else target
        measured = client.measure_recall(name, k, sample, wanted, using=using)
    if as_json:
        document = {"collection": name, "k": k, "target": wanted, "recall": mean_recall(measured)}
        document |= {} if using is None else {"using": using}
        output.document(document | {"shards": [dataclasses.asdict(each) for each in measured]})
        return
    output.table(
        ("shard", "queries", "of", "recall", "lowest", "search us", "exact us"),
        (
            (
                each.shard,
                each.queries,
                _source(each.real_queries),
                *_rounded(each.recall, each.lowest),
                *_micros(each.search_us, each.exact_us),
            )
            for each in measured
        ),
    )
    output.line("")
    output.line(verdict(measured, wanted))


def _queries_in(file: Path) -> AnyArray:
    """Return all rows of a matrix. Raises InvalidArgument if there are more than one call takes."""
    matrix = matrix_of(file)
    count, _ = matrix.shape
    if count > DEFAULT_LIMITS.batch_queries:
        raise InvalidArgument(f"{file} has {count} rows, at most {DEFAULT_LIMITS.batch_queries} queries can be given to tune")
    return matrix.read(0, count)


def mean_recall(measured: Iterable[ShardRecall]) -> float | None:
    """Return the recall over all queries; None without queries."""
    listed = list(measured)
    queries = sum(each.queries for each in listed)
    return sum(each.recall * each.queries for each in listed) / queries if queries else None


def verdict(measured: Sequence[ShardRecall], target: float) -> str:
    """Return a sentence that says whether the target is reached."""
    found = mean_recall(measured)
    if found is None:
        return "nothing was measured: the collection holds no points"
    queries = sum(each.queries for each in measured)
    words = f"recall {found:.3f} over {output.counted(queries, 'query', 'queries')}, target {target:g}"
    if found < target - _TOLERANCE:
        return f"{words}: below it; `shoal collection tune` measures anew"
    if not all(each.real_queries for each in measured):
        return f"{words}; in shards with too few real queries so far, points of the collection were used as queries"
    return words


def _show_curves(curves: Sequence[SegmentCurve], k: int) -> None:
    marks = [_MARKS[at] if at < len(_MARKS) else "+" for at in range(len(curves))]
    named = any(curve.vector for curve in curves)
    output.table(
        ("", "shard", *(("vector",) if named else ()), "segment", "index", "rows", "breadth", "fetch", "recall", "us", "of exact"),
        (row for mark, curve in zip(marks, curves, strict=True) for row in _curve_rows(mark, curve, named=named)),
    )
    output.line("")
    output.line(f"recall at {k} (upwards) against microseconds of one search; {_EXACT} exact search")
    exact = Curve(mark=_EXACT, points=tuple((curve.exact_us, 1.0) for curve in curves))
    drawn = [
        Curve(mark=mark, points=tuple((point.us, point.recall) for point in curve.points))
        for mark, curve in zip(marks, curves, strict=True)
    ]
    for line in plot([exact, *drawn]):
        output.line(line)
    stand_ins = [mark for mark, curve in zip(marks, curves, strict=True) if not curve.real_queries]
    if stand_ins:
        output.note(f"{', '.join(dict.fromkeys(stand_ins))}: too few real queries so far, so rows of the segment were used as queries")


def _curve_rows(mark: str, curve: SegmentCurve, *, named: bool) -> list[tuple[object, ...]]:
    head = (mark, curve.shard, *((curve.vector,) if named else ()), curve.segment, curve.index, curve.rows)
    rows: list[tuple[object, ...]] = [
        (
            *head,
            f"{curve.breadth_name} {point.breadth}".strip(),
            point.fetch,
            *_rounded(point.recall),
            *_micros(point.us),
            _share(point.us, curve),
        )
        for point in curve.points
    ]
    return [*rows, (*head, "exact", None, "1.0000", *_micros(curve.exact_us), "100.0%")]


def _share(cost_us: float, curve: SegmentCurve) -> str:
    return f"{100 * cost_us / curve.exact_us:.1f}%" if curve.exact_us > 0 else ""


def _rounded(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.4f}" for value in values)


def _micros(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.0f}" for value in values)


def _source(real: bool) -> str:
    return "real queries" if real else "own points"


SEVERAL = "*"
"""Mark of a cell in which several curves meet."""

_LEAST_COST = 0.1


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve to draw. mark: one character; points: (cost above 0, recall from 0 to 1)."""

    mark: str
    points: tuple[tuple[float, float], ...]


def plot(curves: Sequence[Curve], *, width: int = 60, height: int = 12, unit: str = "us") -> list[str]:
    """Return the lines of a plot, at most `height` rows of `width` cells: recall upwards, the logarithm of the cost to
    the right. Return no lines without points.
    """
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
    """Return the number of the cell that holds a value; `cells` cells divide [low, high] evenly."""
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
