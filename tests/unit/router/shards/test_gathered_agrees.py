"""Searches that have come together get the answers of searches that came one by one, byte for byte: over real replicas
with any history of writes, builds and deaths."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.metric import Metric
from shoal.router.rpc.search_service import SearchService
from shoal.wire.searches import search_to_message
from tests.support.scope import LONG
from tests.support.worker.local_shards import local_shards, steady
from tests.unit.router.shards.test_express_agrees import (
    DIM,
    PLAIN,
    USUAL,
    History,
    Step,
    Written,
    accuracies,
    histories,
    measured_as_good,
    question_of,
)

forms = st.lists(
    st.fixed_dictionaries(
        {"k": st.sampled_from([1, 3, 10, 70]), "accuracy": accuracies, "payload": st.booleans(), "vectors": st.booleans()}
    ),
    min_size=1,
    max_size=3,
)


class Unhurried:
    """The context of a call with time left."""

    def time_remaining(self) -> float:
        return 5.0

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def invocation_metadata(self) -> None:
        return None


def _alone(service: SearchService, requests: list[bytes]) -> list[Any]:
    return [service.search_at_once(each, Unhurried()) for each in requests]


def _together(service: SearchService, requests: list[bytes]) -> list[Any]:
    return list(service.searches_at_once([(each, Unhurried()) for each in requests]))


@settings(max_examples=100 if LONG else 10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, asked=forms, count=st.integers(2, 24))
@example(history=USUAL, asked=[{"k": 3, "accuracy": None, "payload": True, "vectors": True}], count=20)
def test_answers_are_those_of_searches_one_by_one(
    history: History, asked: list[dict[str, Any]], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_compared(history, asked, count, tmp_path_factory.mktemp("shards")))


async def _compared(history: History, asked: list[dict[str, Any]], count: int, folder: Path) -> None:
    spec = CollectionSpec(name="a", dim=DIM, metric=history.metric, shards=2, index=history.index, recall=0.9)
    random = np.random.default_rng(history.seed)
    async with local_shards(folder, spec, growing_rows=16) as shards:
        steady(shards)
        written, service, answered = Written(shards, history, random), shards.service(), 0
        for step in history.steps:
            await written.change(step)
            requests = [
                search_to_message(question_of(PLAIN | asked[number % len(asked)], random, history.metric, ())).SerializeToString()
                for number in range(count)
            ]
            measured_as_good(shards)
            together = _together(service, requests)
            measured_as_good(shards)
            answered += sum(answer is not None for answer in together)
            for answer, alone in zip(together, _alone(service, requests), strict=True):
                assert answer is None or answer == alone
    if (history, len(asked)) == (USUAL, 1):
        assert answered == 2 * count, "a graph with dead rows is searched for each query alone"


def test_growing_and_sealed_rows_with_payloads_are_read_as_one_by_one(tmp_path: Path) -> None:
    history = History(metric=Metric.COSINE, ids="mixed", index="hnsw", steps=[Step("upsert", 60), Step("seal"), Step("upsert", 12)], seed=4)
    asyncio.run(_compared(history, [{"k": 10, "accuracy": None, "payload": True, "vectors": False}], 16, tmp_path))
