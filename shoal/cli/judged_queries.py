"""Judged queries in files: lines of JSON with queries, and lines with grades of points (qrels).

queries   {"id": "q1", "text": "how to scale out", "vector": [0.1, ...]}     vector: in all lines, or in none
qrels     q1 <tab> 17 <tab> 1                query id, point id, grade; or TREC's four columns: q1 0 17 1
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoal.cli.matrix_files import AnyArray, bad
from shoal.cli.point_files import lines_of, named, object_of
from shoal.cli.points import point_id_of
from shoal.cli.read_vectors import vector_of
from shoal.core.points import PointId
from shoal.core.ranking_quality import Judged
from shoal.core.shown import shown

_QUERY_COLUMNS = ("id", "text", "vector")
_GRADE_HEADINGS = ("score", "relevance", "rel", "grade", "label")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedQuery:
    """A query. vector: (dim,) float64, None if the file has none; judged: at least one grade is above 0."""

    id: str
    text: str
    vector: AnyArray | None
    judged: Judged


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedQueries:
    """queries: those with a relevant point; left_out: number of the others; unknown: judged ids without a query."""

    queries: tuple[JudgedQuery, ...]
    left_out: int
    unknown: int

    @property
    def have_vectors(self) -> bool:
        """Return whether the queries have vectors: all of them have, or none."""
        return bool(self.queries) and self.queries[0].vector is not None


def judged_queries(queries: Path, qrels: Path) -> JudgedQueries:
    """Return the queries of two files. Raises InvalidArgument that names the file, the first bad line, and what is
    allowed.
    """
    grades, known, found = _grades(qrels), set(), []
    first: tuple[int, int] | None = None
    for number, line in lines_of(queries):
        place = f"{named(queries)} line {number}"
        query = _query(line, place, grades)
        if query.id in known:
            raise bad(f"{place}: the query {query.id!r} was there before, each id must be there once")
        dim = 0 if query.vector is None else len(query.vector)
        first = first or (number, dim)
        if dim != first[1]:
            has, had = (f"a vector of {each} numbers" if each else "no vector" for each in (dim, first[1]))
            raise bad(f"{place} has {has}, line {first[0]} has {had}: all must be alike")
        known.add(query.id)
        found.append(query)
    if not found:
        raise bad(f'{named(queries)} has no queries, each line must be one, as in {{"id": "q1", "text": "how to scale out"}}')
    kept = tuple(each for each in found if any(grade > 0 for grade in each.judged.values()))
    return JudgedQueries(queries=kept, left_out=len(found) - len(kept), unknown=len(grades.keys() - known))


def _query(line: str, place: str, grades: Mapping[str, Judged]) -> JudgedQuery:
    given = object_of(line, place)
    other = next((name for name in given if name not in _QUERY_COLUMNS), None)
    if other is not None:
        raise bad(f"{place} has {other!r}, allowed are {', '.join(_QUERY_COLUMNS)}")
    query_id, text = given.get("id"), given.get("text")
    if isinstance(query_id, bool) or not isinstance(query_id, (str, int)) or query_id == "" or not _is_short(query_id):
        raise bad(f"{place}: id is {shown(query_id)}, it must be a string or an integer of 64 bits")
    if not isinstance(text, str) or not text.strip():
        raise bad(f"{place}: text is {text!r}, it must be a string that is not empty")
    vector = None if given.get("vector") is None else vector_of(given["vector"], "vector", place)
    return JudgedQuery(id=str(query_id), text=text, vector=vector, judged=grades.get(str(query_id), {}))


def _is_short(query_id: str | int) -> bool:
    return isinstance(query_id, str) or -(2**63) <= query_id < 2**64


def _grades(qrels: Path) -> dict[str, dict[PointId, float]]:
    found: dict[str, dict[PointId, float]] = {}
    for number, line in lines_of(qrels):
        cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        if number == 1 and cells[-1].lower() in _GRADE_HEADINGS:
            continue
        place = f"{named(qrels)} line {number}"
        if len(cells) not in (3, 4) or not all(cells):
            raise bad(f"{place} has {len(cells)} columns: query id, point id and grade are needed, or TREC's four: query, 0, point, grade")
        point, of_query = point_id_of(cells[-2]), found.setdefault(cells[0], {})
        if point in of_query:
            raise bad(f"{place}: point {point!r} of query {cells[0]!r} was judged before, each must be judged once")
        of_query[point] = _grade(cells[-1], place)
    return found


def _grade(text: str, place: str) -> float:
    try:
        grade = float(text)
    except ValueError:
        grade = math.nan
    if not math.isfinite(grade):
        raise bad(f"{place}: the grade is {text!r}, it must be a number: above 0 for a relevant point")
    return grade


def matrix_of_vectors(queries: tuple[JudgedQuery, ...]) -> Any:
    """Return the vectors of queries that have some, (n, dim) float64."""
    return np.stack([each.vector for each in queries if each.vector is not None])
