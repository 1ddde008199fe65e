"""Checks searches of several legs against the collection and the limits. A search is refused as a whole."""

from __future__ import annotations

import dataclasses
import math
from typing import NoReturn

from shoal.core.collection import CollectionSpec, check_range
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import DenseLeg, FusedSearch, Leg, TextLeg
from shoal.core.hit_groups import group_path
from shoal.core.limits import Limits
from shoal.core.text_check import check_ask
from shoal.core.turns import FREE, Turn
from shoal.router.logic.checks import check_accuracy, check_groups, check_queries
from shoal.router.logic.named_points import names_of
from shoal.router.logic.rounds import compared_leg, weight_of

MOST_LEGS = 16
MOST_NAME_CHARS = 64
MOST_GROUP_SIZE = 100
MOST_COMPARISONS = 4_000_000
"""Of candidates with picks, for diversity: each takes about a microsecond at 768 dimensions."""


def check_fused(question: FusedSearch, spec: CollectionSpec, limits: Limits, turn: Turn = FREE) -> None:
    """Raise InvalidArgument unless the search fits the collection and the limits."""
    queries = _check_legs(question, spec, limits)
    check_groups(question.groups, queries, limits, turn)
    check_accuracy(question.accuracy, limits)
    check_range("candidates", question.candidates, limits.k)
    _check_fusion(question)
    _check_order(question, spec)
    _check_page(question, queries, limits)
    _check_amounts(question, spec, queries, limits)
    for number, leg in enumerate(question.legs):
        turn.pause()
        _check_queries(leg, number, spec, limits, alone=len(question.legs) == 1)


def _check_legs(question: FusedSearch, spec: CollectionSpec, limits: Limits) -> int:
    """Check what the legs have beside their queries, and return the number of queries."""
    legs = question.legs
    if not 1 <= len(legs) <= MOST_LEGS:
        _refuse(f"a search has {len(legs)} legs, it must have 1 to {MOST_LEGS}", "legs", limit="legs")
    named: dict[str, int] = {}
    for number, leg in enumerate(legs):
        if not 1 <= len(leg.name) <= MOST_NAME_CHARS:
            _refuse(f"legs[{number}]: the name has {len(leg.name)} characters, 1-{MOST_NAME_CHARS} are allowed", "name", index=number)
        if leg.name in named:
            _refuse(
                f"legs[{named[leg.name]}] and legs[{number}] have the name {leg.name!r}: give each a name of its own", "legs", index=number
            )
        named[leg.name] = number
        if leg.weight is not None and not (math.isfinite(leg.weight) and leg.weight >= 0):
            _refuse(f"legs[{number}]: weight is {leg.weight}, it must be a finite number, at least 0", "weight", index=number)
        if leg.min_score is not None and not math.isfinite(leg.min_score):
            _refuse(f"legs[{number}]: min_score is {leg.min_score}, it must be a finite number", "min_score", index=number)
        if len(leg) != len(legs[0]):
            _refuse(
                f"legs[{number}] has {len(leg)} queries and legs[0] has {len(legs[0])}: all legs need the same number", "legs", index=number
            )
    if not any(weight_of(leg, spec) for leg in legs):
        _refuse("all legs have the weight 0, at least one must have more", "weight")
    queries = len(legs[0])
    if not 1 <= queries <= limits.batch_queries:
        _refuse(f"a batch of {queries} queries, 1 to {limits.batch_queries} are allowed", "legs", limit="batch_queries")
    return queries


def _check_fusion(question: FusedSearch) -> None:
    fusion = question.fusion
    if fusion is not None and not (math.isfinite(fusion.c) and fusion.c > 0):
        _refuse(f"c is {fusion.c}, it must be a finite number above 0", "c")


def _check_order(question: FusedSearch, spec: CollectionSpec) -> None:
    if question.threshold is not None and not math.isfinite(question.threshold):
        _refuse(f"threshold is {question.threshold}, it must be a finite number", "threshold")
    if not 0.0 <= question.diversity <= 1.0:
        _refuse(f"diversity is {question.diversity}, it must be from 0 to 1", "diversity")
    if question.diversity and spec.vectors and compared_leg(question, spec) is None:
        _refuse(
            f"diversity compares vectors, and collection {spec.name!r} has several: add a leg by one of {names_of(spec)}, "
            "with weight 0 if it is not to be searched",
            "diversity",
        )
    if question.highlight and not any(isinstance(leg, TextLeg) for leg in question.legs):
        _refuse("highlight tells where the words of texts are, but no leg has texts", "highlight")


def _check_page(question: FusedSearch, queries: int, limits: Limits) -> None:
    grouped = question.group_by
    if question.offset < 0:
        _refuse(f"offset is {question.offset}, it must be at least 0", "offset")
    k = max(group.k for group in question.groups)
    if grouped is None:
        if question.offset + k > question.candidates:
            _refuse(
                f"offset {question.offset} + k {k} is {question.offset + k}, but each leg finds {question.candidates} candidates: "
                f"ask for a smaller page, or for at least {question.offset + k} candidates",
                "offset" if question.offset else "k",
                limit="candidates",
            )
        return
    group_path(grouped.path, limits)
    if not 1 <= grouped.size <= MOST_GROUP_SIZE:
        _refuse(f"the size of a group is {grouped.size}, it must be from 1 to {MOST_GROUP_SIZE}", "group_by", limit="group_size")
    if question.offset + k > limits.k:
        _refuse(
            f"offset {question.offset} + k {k} is {question.offset + k}, but at most {limits.k} candidates are looked through for groups: "
            "ask for fewer groups, or use a filter",
            "offset" if question.offset else "k",
            limit="k",
        )
    if queries * k * grouped.size > limits.batch_hits:
        _refuse(
            f"{queries} queries with k {k} and groups of {grouped.size} ask for {queries * k * grouped.size} hits, "
            f"at most {limits.batch_hits} a call are allowed",
            "k",
            limit="batch_hits",
        )


def _check_amounts(question: FusedSearch, spec: CollectionSpec, queries: int, limits: Limits) -> None:
    searched = sum(1 for leg in question.legs if weight_of(leg, spec))
    found = queries * question.candidates * searched
    if found > limits.batch_hits:
        _refuse(
            f"{queries} queries with {question.candidates} candidates in {searched} legs are {found} hits, "
            f"at most {limits.batch_hits} a call are allowed: ask for fewer queries or candidates",
            "candidates",
            limit="batch_hits",
        )
    if question.diversity:
        comparisons = found * (question.offset + max(group.k for group in question.groups))
        if comparisons > MOST_COMPARISONS:
            _refuse(
                f"diversity compares {found} candidates with offset + k picks: these are {comparisons} comparisons, "
                f"at most {MOST_COMPARISONS} a call are allowed: ask for fewer queries, candidates or hits",
                "diversity",
                limit="comparisons",
            )


def _check_queries(leg: Leg, number: int, spec: CollectionSpec, limits: Limits, *, alone: bool) -> None:
    """Check the queries of a leg. alone: it is the only one, so errors need not tell which it is."""
    match leg:
        case DenseLeg(queries=queries, vector=vector):
            check_queries(queries, vector, spec, field="vectors" if alone else f"legs[{number}].vectors")
        case TextLeg(asks=asks):
            names = tuple(field.name for field in spec.text)
            for at, ask in enumerate(asks):
                try:
                    check_ask(ask, names, limits)
                except InvalidArgument as error:
                    where = "" if len(asks) == 1 else f"query {at}: "
                    raise InvalidArgument(f"{where}{error.message}", dataclasses.replace(error.details, index=at)) from None


def _refuse(message: str, field: str, *, index: int | None = None, limit: str | None = None) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field=field, index=index, limit=limit))
