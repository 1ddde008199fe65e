"""Searches by the name of a vector over real replicas: one call for all shards, shard by shard and in bytes over a hop
give the same bytes, and their hits are those of brute force over what was written."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.filter import In
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.point_change import UpdateNamed
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Delete, Get, ReadAs, Search, Update, Upsert
from shoal.core.shard_calls import Consistency, Exact, QueryGroup, RecallTarget
from shoal.router.logic import express_plan
from tests.support.worker.local_shards import LocalShards, local_shards, steady
from tests.support.worker.named_vectors import nearest_by
from tests.unit.router.shards.test_express_agrees import bytes_of, measured_as_good, same

SPEC = CollectionSpec(
    name="a",
    dim=0,
    shards=2,
    recall=0.9,
    vectors=(
        NamedVector(name="image", dim=3, metric=Metric.L2, index="hnsw"),
        NamedVector(name="text", dim=2, metric=Metric.IP, index="hnsw"),
    ),
)
Vectors = dict[str, list[float]]


def columns(points: list[Vectors]) -> dict[str, VectorColumn]:
    """Return the vectors of points by name, as a caller gives them."""
    found = {}
    for each in SPEC.vectors:
        have = [at for at, point in enumerate(points) if each.name in point]
        rows = np.array([points[at][each.name] for at in have], dtype=np.float32).reshape(len(have), each.dim)
        found[each.name] = VectorColumn(vectors=rows, positions=np.array(have, dtype=np.intp))
    return found


class NamedHistory:
    """Writes through the router, and what the points hold after them: vectors and label."""

    def __init__(self, shards: LocalShards, seed: int) -> None:
        self._shards, self._random = shards, np.random.default_rng(seed)
        self.held: dict[int | str, tuple[Vectors, int]] = {}
        self.read = ReadAs()

    async def change(self, points: int) -> None:
        """Upsert points, some of them again, replace some vectors of points of a label, and delete some."""
        ids: list[int | str] = [f"id-{at}" if at % 5 == 0 else int(at) for at in self._random.choice(3 * points, points, replace=False)]
        made = {each: (self._vectors(), at % 3) for at, each in enumerate(ids)}
        writes = self._shards.router.writes
        rows = np.empty((points, 0), dtype=np.float32)
        payloads = tuple(b'{"label":%d}' % label for _, label in made.values())
        named = columns([vectors for vectors, _ in made.values()])
        upsert = Upsert(collection="a", points=PointColumns(ids=id_array(ids), vectors=rows, payloads=payloads, named=named))
        await writes.upsert(upsert, 30.0)
        self.held |= made
        some = ids[::3]
        changes = {each: self._vectors() for each in some}
        change = UpdateNamed(columns(list(changes.values())))
        update = Update(collection="a", change=change, ids=id_array(some), filter=In(("label",), (0, 1)))
        done = await self._shards.router.updates.update(update, 30.0)
        changed = [each for each in some if self.held[each][1] in (0, 1)]
        assert done.affected == len(changed)
        self.held |= {each: ({**self.held[each][0], **changes[each]}, self.held[each][1]) for each in changed}
        written = await writes.delete(Delete(collection="a", ids=id_array(ids[1::7])), 30.0)
        for each in ids[1::7]:
            del self.held[each]
        self.read = ReadAs(consistency=Consistency.PRIMARY, tokens=tuple(written.tokens), caller="c")

    def question(self, name: str, count: int, k: int, **options: object) -> Search:
        queries = self.random_vectors(name, count) + np.float32(0.25)
        groups = (QueryGroup(k=k, filter=options.pop("filter", None)),)  # type: ignore[arg-type]
        return Search(collection="a", queries=queries, groups=groups, vector=name, read=self.read, **options)  # type: ignore[arg-type]

    def random_vectors(self, name: str, count: int) -> np.ndarray:
        return self._random.integers(-3, 4, size=(count, SPEC.vector_of(name).dim)).astype(np.float32)

    def _vectors(self) -> Vectors:
        return {each.name: self.random_vectors(each.name, 1)[0].tolist() for each in SPEC.vectors if self._random.random() < 0.7}


@pytest.mark.parametrize("sealed", [False, True], ids=["growing", "sealed"])
def test_a_search_by_name_is_answered_alike_on_every_way_and_as_by_brute_force(
    tmp_path: Path, sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small stores have large pages, so a few payloads seem to be slow to read.
    monkeypatch.setattr(express_plan, "ALONE_US", math.inf)

    async def run() -> None:
        # Segments are built when the test says so, not between two searches that are compared.
        async with local_shards(tmp_path, SPEC, growing_rows=10_000) as shards:
            steady(shards)
            written = NamedHistory(shards, seed=9)
            for points in (150, 60):
                await written.change(points)
                if sealed:
                    for bench in shards.benches.values():
                        await bench.replica.optimize(30.0)
            for name in ("image", "text"):
                for count, k, wanted, payload, vectors in ((1, 3, None, False, False), (1, 9, 1, True, True), (5, 4, None, True, True)):
                    filter = None if wanted is None else In(("label",), (wanted,))
                    for accuracy in (Exact(), RecallTarget(0.8)):
                        question = written.question(
                            name, count, k, filter=filter, accuracy=accuracy, with_payload=payload, with_vectors=vectors
                        )
                        express, general = await shards.both(question, lambda: measured_as_good(shards))
                        assert same(express, general), question
                        over_hop, _ = await shards.over_hop(question, lambda: measured_as_good(shards))
                        assert over_hop == bytes_of(general), question
                        if accuracy != Exact():
                            continue
                        among = {each: held for each, (held, label) in written.held.items() if wanted in (None, label)}
                        expected = [each for query in question.queries.tolist() for each in nearest_by(name, query, among, k)]
                        assert express.hits.ids.tolist() == expected
                        if vectors:
                            assert express.hits.named is not None
                            assert named_of(express.hits.named, len(expected)) == [among[each] for each in expected]

    asyncio.run(run())


def test_a_read_gives_the_vectors_that_points_have_by_name_also_after_a_restart(tmp_path: Path) -> None:
    async def look(shards: LocalShards, held: dict[int | str, tuple[Vectors, int]], read: ReadAs) -> None:
        got = await shards.router.reads.get(Get(collection="a", ids=id_array(list(held)), with_vectors=True, read=read), 30.0)
        assert got.points.ids.tolist() == list(held)
        assert got.points.named is not None
        assert named_of(got.points.named, len(held)) == [vectors for vectors, _ in held.values()]

    async def run() -> None:
        async with local_shards(tmp_path, SPEC, growing_rows=64) as shards:
            written = NamedHistory(shards, seed=4)
            await written.change(120)
            await look(shards, written.held, written.read)
        async with local_shards(tmp_path, SPEC, term=2, growing_rows=64) as shards:
            await look(shards, written.held, ReadAs())

    asyncio.run(run())


def named_of(named: object, count: int) -> list[Vectors]:
    """Return the vectors of each of `count` points, from columns."""
    points: list[Vectors] = [{} for _ in range(count)]
    assert isinstance(named, dict)
    for name, column in named.items():
        positions = range(count) if column.positions is None else column.positions.tolist()
        for at, vector in zip(positions, column.vectors.tolist(), strict=True):
            points[at][name] = vector
    return points
