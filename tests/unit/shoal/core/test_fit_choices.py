from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.fit_choices import MOST_FIELDS, FitChoice, boosts_to_read, defaults_of, fit_choices, present_choice
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults


def test_one_field_is_read_once() -> None:
    assert boosts_to_read(["body"], SearchDefaults()) == ((("body", 1.0),),)


def test_two_fields_are_read_at_each_ratio_once() -> None:
    read = boosts_to_read(["title", "body"], SearchDefaults())
    assert [dict(each)["title"] / dict(each)["body"] for each in read] == [1.0, 4.0, 2.0, 0.5, 0.25]


def test_the_present_boosts_come_first() -> None:
    read = boosts_to_read(["title", "body", "tags"], SearchDefaults(boosts=(("title", 3.0),)))
    assert dict(read[0]) == {"title": 3.0, "body": 1.0, "tags": 1.0}
    assert len(read) == 1 + 4 * 3


def test_without_a_text_field_there_is_one_reading_without_boosts() -> None:
    assert boosts_to_read([], SearchDefaults()) == ((),)


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="9 text fields, boosts are chosen for at most 8"):
        boosts_to_read([str(each) for each in range(MOST_FIELDS + 1)], SearchDefaults())


def test_the_present_choice_is_preferred_then_one_leg_then_what_is_near() -> None:
    present = SearchDefaults(dense_weight=1.0, text_weight=2.0)
    choices = fit_choices(present, 2)
    assert choices[0] == present_choice(present) == FitChoice(fusion=Fusion(), dense=1 / 3)
    assert [each.dense for each in choices[1:4]] == [0.0, 0.0, 1.0]
    assert choices[4] == FitChoice(fusion=Fusion(), dense=0.3)
    assert not any(each.is_lone for each in choices[4:])


def test_every_choice_is_there_once() -> None:
    choices = fit_choices(SearchDefaults(), 3)
    assert len(set(choices)) == len(choices) == len(FusionKind) * 3 * 9 + 3 + 1


def test_a_collection_that_has_dropped_a_leg_may_have_it_back() -> None:
    choices = fit_choices(SearchDefaults(dense_weight=0.0), 1)
    assert choices[0].dense == 0.0
    assert FitChoice(fusion=Fusion(), dense=0.5) in choices


def test_the_c_of_rrf_stays_as_it_is() -> None:
    assert {each.fusion.c for each in fit_choices(SearchDefaults(fusion=Fusion(c=7.0)), 1)} == {7.0}


def test_boosts_of_1_are_not_saved() -> None:
    saved = defaults_of(FitChoice(fusion=Fusion(), dense=0.25, reading=1), (("body", 1.0), ("title", 2.0)))
    assert saved == SearchDefaults(dense_weight=0.25, text_weight=0.75, boosts=(("title", 2.0),))
