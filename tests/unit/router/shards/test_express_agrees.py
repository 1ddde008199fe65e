"""One call for all shards answers as a search of each shard and a merge do, bit for bit, and so does a search in bytes
over a hop: over real replicas with any history of writes, builds and deaths."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.filter import Filter, In, Not, Range
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Found
from shoal.core.requests import Delete, ReadAs, Search, ShardToken, Upsert
from shoal.core.shard_calls import Accuracy, Breadth, Consistency, Exact, QueryGroup, RecallTarget
from shoal.router.logic import express_plan
from shoal.shard_worker.index.tuning import Tuning
from shoal.wire.searches import found_to_message
from tests.support.scope import LONG
from tests.support.worker.local_shards import LocalShards, local_shards, steady

DIM = 6
LABELS = 4

accuracies: st.SearchStrategy[Accuracy | None] = st.sampled_from([None, Exact(), RecallTarget(0.8), Breadth(ef=6), Breadth(nprobe=2)])
filters: st.SearchStrategy[Filter | None] = st.sampled_from(
    [None, None, In(("label",), (1,)), Not(In(("label",), (0, 2))), Range(("at",), lt=20), In(("label",), (99,)), In(("nothing",), ())]
)


@dataclass(frozen=True)
class Step:
    """A change. kind: upsert or delete so many points, or seal all rows."""

    kind: str
    points: int = 0


steps = st.lists(
    st.one_of(
        st.builds(Step, st.just("upsert"), st.integers(1, 60)),
        st.builds(Step, st.just("delete"), st.integers(1, 15)),
        st.just(Step("seal")),
    ),
    min_size=1,
    max_size=6,
)


@dataclass(frozen=True)
class History:
    metric: Metric
    ids: str
    index: str
    steps: list[Step]
    seed: int


histories = st.builds(
    History,
    metric=st.sampled_from(list(Metric)),
    ids=st.sampled_from(["integers", "texts", "mixed"]),
    index=st.sampled_from(["hnsw", "hnsw", "flat"]),
    steps=steps,
    seed=st.integers(0, 1 << 20),
)

questions = st.lists(
    st.fixed_dictionaries(
        {
            "queries": st.sampled_from([1, 1, 2, 9, 17]),
            "k": st.sampled_from([1, 3, 10, 70]),
            "accuracy": accuracies,
            "filter": filters,
            "radius": st.sampled_from([None, None, 0.5, 8.0]),
            "two_groups": st.booleans(),
            "payload": st.booleans(),
            "vectors": st.booleans(),
            "consistency": st.sampled_from(list(Consistency)),
        }
    ),
    min_size=3,
    max_size=6,
)

USUAL = History(
    metric=Metric.L2, ids="integers", index="hnsw", steps=[Step("upsert", 60), Step("seal"), Step("upsert", 9), Step("delete", 4)], seed=1
)
PLAIN = {
    "queries": 1,
    "k": 3,
    "accuracy": None,
    "filter": None,
    "radius": None,
    "two_groups": False,
    "payload": False,
    "vectors": False,
    "consistency": Consistency.SESSION,
}


@settings(max_examples=300 if LONG else 12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, asked=questions)
@example(history=USUAL, asked=[PLAIN, PLAIN | {"payload": True}, PLAIN | {"filter": In(("label",), (1,))}])
@example(history=dataclasses.replace(USUAL, ids="mixed", metric=Metric.COSINE, steps=[Step("upsert", 60), Step("seal")]), asked=[PLAIN])
def test_one_call_answers_as_shard_by_shard(
    history: History, asked: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Small stores have large pages, so a few payloads seem to be slow to read.
        patch.setattr(express_plan, "ALONE_US", math.inf)
        asyncio.run(_compared(history, asked, tmp_path_factory.mktemp("shards")))


@pytest.mark.parametrize("ids", ["integers", "texts", "mixed"])
@pytest.mark.parametrize("metric", list(Metric))
def test_one_query_in_sealed_indexes_is_answered_as_shard_by_shard(metric: Metric, ids: str, tmp_path: Path) -> None:
    async def run() -> None:
        history = History(metric=metric, ids=ids, index="hnsw", steps=[], seed=3)
        random = np.random.default_rng(5)
        spec = CollectionSpec(name="a", dim=DIM, metric=metric, shards=2, index="hnsw", recall=0.9)
        async with local_shards(tmp_path, spec, growing_rows=16) as shards:
            steady(shards)
            written = Written(shards, history, random)
            for step in (Step("upsert", 90), Step("seal")):
                await written.change(step)
            hits = 0
            for asked in (PLAIN | {"k": k, "payload": payload} for k in (1, 3, 10) for payload in (False, True) for _ in range(5)):
                question = question_of(asked, random, metric, written.tokens)
                express, general = await shards.both(question, lambda: measured_as_good(shards))
                assert same(express, general), question
                assert await shards.over_hop(question, lambda: measured_as_good(shards)) == (bytes_of(general), True), question
                hits += len(express.hits)
            assert hits == 2 * 5 * (1 + 3 + 10)

    asyncio.run(run())


async def _compared(history: History, asked: list[dict[str, Any]], folder: Path) -> None:
    spec = CollectionSpec(name="a", dim=DIM, metric=history.metric, shards=2, index=history.index, recall=0.9)
    random = np.random.default_rng(history.seed)
    async with local_shards(folder, spec, growing_rows=16) as shards:
        steady(shards)
        written = Written(shards, history, random)
        for step in history.steps:
            await written.change(step)
            for each in asked:
                question = question_of(each, random, history.metric, written.tokens)
                express, general = await shards.both(question, lambda: measured_as_good(shards))
                assert same(express, general), each
                over_hop, _ = await shards.over_hop(question, lambda: measured_as_good(shards))
                assert over_hop == bytes_of(general), each


class Written:
    """The writes of a history. tokens: of the last write of each shard."""

    def __init__(self, shards: LocalShards, history: History, random: np.random.Generator) -> None:
        self._shards, self._history, self._random = shards, history, random
        self._numbers = itertools.count()
        self._ids: list[int | str] = []
        self.tokens: tuple[ShardToken, ...] = ()

    async def change(self, step: Step) -> None:
        match step.kind:
            case "seal":
                for bench in self._shards.benches.values():
                    await bench.replica.optimize(30.0)
            case "delete":
                ids = self._ids[:: max(1, len(self._ids) // step.points)]
                if ids:
                    self._take(await self._shards.router.writes.delete(Delete(collection="a", ids=id_array(ids)), 30.0))
            case _:
                await self._upsert(step.points)

    async def _upsert(self, points: int) -> None:
        again = self._ids[: points // 4]
        ids = [*again, *(self._next_id() for _ in range(points - len(again)))]
        payloads = tuple(json.dumps({"label": at % LABELS, "at": at}).encode() if at % 7 else None for at in range(points))
        columns = PointColumns(ids=id_array(ids), vectors=vectors(self._random, points), payloads=payloads)
        self._ids = list(dict.fromkeys([*self._ids, *ids]))
        self._take(await self._shards.router.writes.upsert(Upsert(collection="a", points=columns), 30.0))

    def _next_id(self) -> int | str:
        number = next(self._numbers)
        text = self._history.ids == "texts" or (self._history.ids == "mixed" and number % 3 == 0)
        return f"id-{number}" if text else number

    def _take(self, written: Any) -> None:
        self.tokens = tuple(written.tokens)


def vectors(random: np.random.Generator, count: int) -> np.ndarray:
    """Return vectors of small whole numbers, so that many scores tie, none of them zero."""
    made = random.integers(-2, 3, size=(count, DIM)).astype(np.float32)
    made[:, 0] += np.where(made.any(axis=1), 0, 1)
    return made


def question_of(asked: dict[str, Any], random: np.random.Generator, metric: Metric, tokens: tuple[ShardToken, ...]) -> Search:
    count, k, filter = asked["queries"], asked["k"], asked["filter"]
    groups: tuple[QueryGroup, ...] = (QueryGroup(k=k, filter=filter),)
    if asked["two_groups"] and count > 1:
        halves = np.array_split(np.arange(count), 2)
        groups = (QueryGroup(k=k, filter=filter, queries=halves[0]), QueryGroup(k=2, queries=halves[1]))
    radius = asked["radius"]
    return Search(
        collection="a",
        queries=vectors(random, count) + np.float32(0.25),
        groups=groups,
        accuracy=asked["accuracy"],
        radius=radius if metric is Metric.L2 or radius is None else radius / 10,
        with_payload=asked["payload"],
        with_vectors=asked["vectors"],
        read=ReadAs(consistency=asked["consistency"], tokens=tokens, caller="c"),
    )


def measured_as_good(shards: LocalShards) -> None:
    """Let every index count as measured on real queries, which lay near to its rows, and as worth using."""
    for reading in (index.reading for bench in shards.benches.values() for index in bench.engine.indexes):
        for part in reading.view().parts:
            if part.native is None:
                continue
            before = part.tuning.now
            best = np.ones_like(before.measures.expected)
            near = (-9.0, -1.0, 1.0, 2.0) if reading.metric is Metric.L2 else (-9.0, -0.7)
            measures = dataclasses.replace(
                before.measures, queries=100, real=True, exact_row_us=50.0, remote=near, expected=best, surely=best
            )
            part.tuning.now = Tuning(before.shape, measures)


def same(one: Found, other: Found) -> bool:
    return bytes_of(one) == bytes_of(other)


def bytes_of(found: Found) -> bytes:
    written: bytes = found_to_message(found).SerializeToString()
    return written
