"""Test calls handed to another thread: they are made once, and whoever still holds them keeps nothing of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from shoal.runtime.handed_over import HandedOver


class Data:
    """Stands for the vectors of a segment."""


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def taking(data: Data, then: Callable[[Data], object]) -> HandedOver[object]:
    return HandedOver(lambda: then(data))


def test_the_call_is_made_and_its_result_taken_once() -> None:
    call = HandedOver(lambda: 7)
    call()
    assert call.outcome() == 7


def test_the_caller_sees_what_the_call_raised() -> None:
    call = HandedOver(lambda: 1 // 0)
    call()
    with pytest.raises(ZeroDivisionError):
        call.outcome()


def test_a_forgotten_call_is_not_made() -> None:
    made: list[int] = []
    call = HandedOver(lambda: made.append(1))
    call.forget()
    call()
    assert made == []


def test_a_call_that_was_made_keeps_neither_its_data_nor_its_result() -> None:
    data = Data()
    held = weakref.ref(data)
    call = taking(data, lambda given: given)
    call()
    assert call.outcome() is data
    del data
    assert held() is None


def test_a_call_that_failed_keeps_neither_its_data_nor_its_error() -> None:
    def refuse(given: Data) -> None:
        raise ValueError(given)

    data = Data()
    held = weakref.ref(data)
    call = taking(data, refuse)
    del data
    call()
    with pytest.raises(ValueError, match="Data") as raised:
        call.outcome()
    del raised
    assert held() is None


def test_a_forgotten_call_keeps_nothing_before_and_after_it_was_made() -> None:
    for made in (False, True):
        data = Data()
        held = weakref.ref(data)
        call = taking(data, lambda given: given)
        del data
        if made:
            call()
        call.forget()
        assert held() is None
