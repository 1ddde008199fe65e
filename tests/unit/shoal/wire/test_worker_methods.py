from __future__ import annotations

import pytest

from shoal.core.errors import Internal
from shoal.wire.worker_methods import WORKER_METHODS


def test_calls_on_points_are_those_of_every_search_read_and_write() -> None:
    of_data = {name: each.writes for name, each in WORKER_METHODS.items() if each.of_data}
    reads = ("Search", "SearchShards", "TextStats", "TextSearch", "TextMarks", "Get", "Scroll", "Count")
    assert of_data == dict.fromkeys(reads, False) | {"Write": True}
    assert not [name for name, each in WORKER_METHODS.items() if each.writes and not each.of_data]


def test_paths_and_answers_are_those_of_the_service() -> None:
    count = WORKER_METHODS["Count"]
    assert (count.path, count.answer(b"\x08\x07", "worker").count) == ("/shoal.v1.Worker/Count", 7)


def test_an_answer_that_cannot_be_read_names_the_worker_and_the_call() -> None:
    with pytest.raises(Internal, match=r"worker at a:1 to /shoal\.v1\.Worker/Count cannot be read"):
        WORKER_METHODS["Count"].answer(b"\xff", "worker at a:1")
