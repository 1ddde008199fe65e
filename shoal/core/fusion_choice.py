"""How the hits of several legs become one order, and what a collection does where a search says nothing. Pure.

    defaults = {"fusion": fusion, "c": 60, "dense_weight": 1, "text_weight": 1, "boosts": {text field: boost}}
    fusion   = "zscore" | "minmax" | "rrf"

What defaults leave out is the usual: zscore, both weights 1, c 60, no boosts.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown
from shoal.core.text_check import LEAST_FIELD_BOOST, MOST_FIELD_BOOST

DEFAULT_RANK_CONSTANT = 60.0


class FusionKind(StrEnum):
    """How scores of legs become comparable.

    ZSCORE: (score - lowest) / standard deviation of the leg's hits; MINMAX: (score - lowest) / (highest - lowest); RRF:
    1 / (c + rank), reciprocal rank fusion of Cormack and others (SIGIR 2009).
    """

    ZSCORE = "zscore"
    MINMAX = "minmax"
    RRF = "rrf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """kind: see there; c: of rrf, above 0."""

    kind: FusionKind = FusionKind.ZSCORE
    c: float = DEFAULT_RANK_CONSTANT


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchDefaults:
    """What searches of a collection with several legs do where they say nothing, as `collection fit` may save it.

    dense_weight, text_weight: of legs, at least 0, not both 0; boosts: of text fields, by name, within the bounds of
    text_check; those that are not named get 1.
    """

    fusion: Fusion = Fusion()
    dense_weight: float = 1.0
    text_weight: float = 1.0
    boosts: tuple[tuple[str, float], ...] = ()


_KEYS = ("fusion", "c", "dense_weight", "text_weight", "boosts")


def search_defaults_from_input(value: object, text_fields: Collection[str]) -> SearchDefaults:
    """Return the defaults that a user gave: a mapping (see the head of this file; what is left out is the usual), or
    SearchDefaults.

    text_fields: the names that boosts may have. Raises InvalidArgument (field "defaults") that names the bad value and
    what is allowed.
    """
    if isinstance(value, SearchDefaults):
        given: Mapping[Any, Any] = defaults_to_input(value)
    elif isinstance(value, Mapping):
        given = value
    else:
        _refuse(f"defaults is {shown(value)}, it must be a mapping with {', '.join(_KEYS)}")
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        _refuse(f"defaults has {shown(unknown[0])}, allowed are {', '.join(_KEYS)}")
    usual = SearchDefaults()
    dense = _number("dense_weight", given.get("dense_weight", usual.dense_weight))
    text = _number("text_weight", given.get("text_weight", usual.text_weight))
    if not dense and not text:
        _refuse("defaults has dense_weight 0 and text_weight 0, at least one of them must be above 0")
    return SearchDefaults(
        fusion=Fusion(
            kind=_fusion_kind(given.get("fusion", usual.fusion.kind)), c=_number("c", given.get("c", usual.fusion.c), above=True)
        ),
        dense_weight=dense,
        text_weight=text,
        boosts=_boosts(given.get("boosts", {}), text_fields),
    )


def defaults_to_input(defaults: SearchDefaults) -> dict[str, Any]:
    """Return a mapping that search_defaults_from_input converts back."""
    return {
        "fusion": defaults.fusion.kind.value,
        "c": defaults.fusion.c,
        "dense_weight": defaults.dense_weight,
        "text_weight": defaults.text_weight,
        "boosts": dict(defaults.boosts),
    }


def _fusion_kind(value: object) -> FusionKind:
    if not isinstance(value, str) or value not in tuple(FusionKind):
        _refuse(f"defaults has fusion {shown(value)}, it must be one of {', '.join(FusionKind)}")
    return FusionKind(value)


def _boosts(value: object, text_fields: Collection[str]) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, Mapping):
        _refuse(f"defaults has boosts {shown(value)}, it must be a mapping of text fields to numbers")
    for name in value:
        if not isinstance(name, str) or any("\ud800" <= character <= "\udfff" for character in name):
            _refuse(f"defaults has a boost of {shown(name)}, which is no name of a field")
        if name not in text_fields:
            _refuse(f"defaults has a boost of {shown(name)}, the text fields are {', '.join(sorted(text_fields)) or 'none'}")
    return tuple((name, _boost(name, value[name])) for name in sorted(value))


def _boost(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not LEAST_FIELD_BOOST <= value <= MOST_FIELD_BOOST:
        _refuse(
            f"defaults has a boost {shown(value)} of {shown(name)}, it must be a number from {LEAST_FIELD_BOOST:g} to {MOST_FIELD_BOOST:g}"
        )
    return float(value)


def _number(name: str, value: object, *, above: bool = False) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not isinstance(value, (int, float)) or not is_number or not 0 <= value <= sys.float_info.max or (above and value == 0):
        _refuse(f"defaults has {name} {shown(value)}, it must be a number {'above' if above else 'of at least'} 0")
    return float(value)


def _refuse(message: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field="defaults"))
