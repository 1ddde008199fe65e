"""Python refuses to show an integer of thousands of digits. Wherever one is given, the error is a typed one all the
same.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import pytest

import shoal
from tests.twins.router_answers import DictCluster, client_with

HUGE = 10**5_000

CALLS: dict[str, tuple[Any, ...]] = {
    "create_collection": ("d", 2),
    "alter_collection": ("c",),
    "describe_collection": ("c",),
    "drop_collection": ("c",),
    "upsert": ("c", [1], [[1.0, 2.0]]),
    "delete": ("c", [1]),
    "set_payload": ("c", {"a": 1}, [1]),
    "delete_payload": ("c", ["a"], [1]),
    "update_vectors": ("c", [1], [[1.0, 2.0]]),
    "get": ("c", [1]),
    "count": ("c",),
    "search": ("c", [1.0, 2.0]),
    "search_many": ("c", [[1.0, 2.0]]),
    "tune": ("c",),
    "measure_recall": ("c",),
    "optimize": ("c",),
}
"""Calls that are right as they are."""


def arguments(call: str) -> list[tuple[str, int | None]]:
    """Return the name of each argument of a call, and its place among those that CALLS gives."""
    taken = list(inspect.signature(getattr(shoal.Client, call)).parameters.values())[1:]
    names = [each.name for each in taken if each.kind is not inspect.Parameter.VAR_KEYWORD]
    return [(name, place if place < len(CALLS[call]) else None) for place, name in enumerate(names)]


@pytest.mark.parametrize("huge", [HUGE, [HUGE], {HUGE}], ids=["integer", "list", "set"])
@pytest.mark.parametrize(("call", "name", "place"), [(call, *each) for call in CALLS for each in arguments(call)])
def test_no_argument_of_a_call_ends_in_an_error_of_python(call: str, name: str, place: int | None, huge: Any) -> None:
    given, named = list(CALLS[call]), {}
    if place is None:
        named[name] = huge
    else:
        given[place] = huge
    with client_with(DictCluster()) as client:
        client.create_collection("c", 2)
        client.upsert("c", [1], [[1.0, 2.0]])
        with contextlib.suppress(shoal.ShoalError):
            getattr(client, call)(*given, **named)


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
@pytest.mark.parametrize(
    "given",
    [
        {"address": HUGE},
        {"address": [HUGE]},
        {"port": HUGE},
        {"port": [HUGE]},
        {"address": {HUGE}, "port": 3},
        {"timeout": HUGE},
        {"transport": HUGE},
    ],
)
def test_no_argument_of_connect_does(connect: Any, given: dict[str, Any]) -> None:
    with pytest.raises(shoal.InvalidArgument, match=r"huge integer|16,610 bits"):
        connect(**{"address": "db", **given})
