from __future__ import annotations

from typing import Any

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults, defaults_to_input, search_defaults_from_input

FITTED = SearchDefaults(fusion=Fusion(kind=FusionKind.RRF, c=20.0), dense_weight=0.0, text_weight=2.0, boosts=(("a", 1.5), ("b", 2.0)))


@pytest.mark.parametrize(
    ("given", "defaults"),
    [
        ({}, SearchDefaults()),
        ({"fusion": "rrf", "c": 20, "dense_weight": 0, "text_weight": 2, "boosts": {"b": 2, "a": 1.5}}, FITTED),
        ({"text_weight": 3}, SearchDefaults(text_weight=3.0)),
        (FITTED, FITTED),
        (defaults_to_input(FITTED), FITTED),
    ],
)
def test_what_is_understood(given: object, defaults: SearchDefaults) -> None:
    assert search_defaults_from_input(given, ["a", "b"]) == defaults


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (3, "defaults is 3"),
        ({"weights": 1}, "'weights', allowed are fusion, c"),
        ({"fusion": "dbsf"}, "'dbsf'.*zscore, minmax, rrf"),
        ({"fusion": 1}, "fusion 1"),
        ({"c": 0}, "c 0.*above 0"),
        ({"c": float("nan")}, "c nan"),
        ({"c": 10**400}, "c 1000.*above 0"),
        ({"dense_weight": 10**400}, "dense_weight 1000.*at least 0"),
        ({"boosts": {"a": 10**400}}, "a boost 1000"),
        ({"boosts": {"\ud800": 1}}, "no name of a field"),
        ({"boosts": {1: 2}}, "boost of 1, which is no name"),
        ({"dense_weight": -1}, "dense_weight -1"),
        ({"dense_weight": True}, "dense_weight True"),
        ({"text_weight": "2"}, "text_weight '2'"),
        ({"text_weight": float("inf")}, "text_weight inf"),
        ({"dense_weight": 0, "text_weight": 0}, "at least one"),
        ({"boosts": ["a"]}, "boosts"),
        ({"boosts": {"z": 1}}, "'z', the text fields are a, b"),
        ({"boosts": {"a": 0}}, "boost 0 of 'a', it must be a number from 0.001 to 1000"),
        ({"boosts": {"a": float("nan")}}, "boost nan of 'a'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: Any, named: str) -> None:
    with pytest.raises(InvalidArgument, match=named) as caught:
        search_defaults_from_input(given, ["a", "b"])
    assert caught.value.details.field == "defaults"
