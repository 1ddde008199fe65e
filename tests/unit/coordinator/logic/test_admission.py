from __future__ import annotations

import dataclasses

import pytest

from coordinator.logic.admission import admitted
from shoal.core.collection import CollectionState
from shoal.core.errors import AlreadyExists
from tests.unit.coordinator.world import collection_of

HOLDER = collection_of("fashion", state=CollectionState.ACTIVE)


def test_a_free_name_is_none() -> None:
    assert admitted(None, HOLDER.spec, "r") is None


def test_a_name_given_up_by_a_drop_is_free_even_for_the_same_request() -> None:
    dropping = dataclasses.replace(HOLDER, state=CollectionState.DROPPING)
    assert admitted(dropping, HOLDER.spec, HOLDER.request_id) is None


def test_a_retry_of_the_same_request_gets_what_it_made() -> None:
    assert admitted(HOLDER, HOLDER.spec, HOLDER.request_id) is HOLDER


def test_another_request_is_refused() -> None:
    with pytest.raises(AlreadyExists, match="'fashion' already exists"):
        admitted(HOLDER, HOLDER.spec, "another")


def test_the_same_request_id_for_something_else_is_refused() -> None:
    with pytest.raises(AlreadyExists):
        admitted(HOLDER, dataclasses.replace(HOLDER.spec, dim=5), HOLDER.request_id)
