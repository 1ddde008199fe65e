from __future__ import annotations

from typing import Any

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.shard_calls import Accuracy, Breadth, Exact, RecallTarget
from shoal.wire.searches import accuracy_of


def said(*, exact: bool = False, recall: float | None = None, params: Any = None) -> Accuracy | None:
    return accuracy_of(exact=exact, recall=recall, params=params or {})


@pytest.mark.parametrize(
    ("parts", "accuracy"),
    [
        ({}, None),
        ({"exact": True}, Exact()),
        ({"recall": 0.0}, RecallTarget(0.0)),
        ({"params": {"ef": 64.0}}, Breadth(ef=64)),
        ({"params": {"nprobe": -1.0}}, Breadth(nprobe=-1)),
    ],
)
def test_one_way_to_say_it_or_none(parts: dict[str, Any], accuracy: Accuracy | None) -> None:
    assert said(**parts) == accuracy


@pytest.mark.parametrize(
    ("parts", "field", "text"),
    [
        ({"exact": True, "recall": 0.0}, "recall", "exact and recall contradict"),
        ({"exact": True, "params": {"ef": 1.0}}, "params", "exact and params contradict"),
        ({"recall": 0.9, "params": {"ef": 1.0}}, "params", "recall and params contradict"),
        ({"params": {"efSearch": 1.0}}, "params", "'efSearch' is unknown, allowed are ef, nprobe"),
        ({"params": {"ef": 1.0, "nprobe": 1.0}}, "params", "not both"),
        ({"params": {"ef": 0.5}}, "params", "ef is 0.5, it must be a whole number"),
        ({"params": {"nprobe": float("inf")}}, "params", "nprobe is inf"),
        ({"params": {"nprobe": float("nan")}}, "params", "nprobe is nan"),
    ],
)
def test_contradictions_and_unknown_words_are_refused(parts: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        said(**parts)
    assert caught.value.details.field == field
