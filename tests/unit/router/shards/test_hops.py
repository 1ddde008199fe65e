"""Searches in bytes have the outcome of the general way, at the same time, with the same calls: whatever fails."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, InvalidArgument, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Found
from shoal.core.requests import ReadAs, Search, SearchForm, Upsert
from shoal.core.shard_calls import Consistency, QueryGroup, ShardSearch, ShardsSearch
from shoal.router.cluster.workers import tend
from shoal.router.shards import hops
from shoal.v1 import search_pb2
from shoal.wire.searches import found_from_message, found_to_message
from tests.support.scope import LONG
from tests.twins.cluster import TwinCluster
from tests.twins.encoded import EncodedCluster
from tests.twins.virtual_time import FakeClock, run
from tests.unit.router.shards.test_replica_reads import Counted

SHARDS, USUAL_S = 4, 0.003

ERRORS = [
    Unavailable("connection refused"),
    DeadlineExceeded("late"),
    DataLoss("crc"),
    InvalidArgument("no"),
    ResourceExhausted("too large", ErrorDetails(limit="message_bytes")),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search. at_s: when it begins; query: number of the first of its queries."""

    at_s: float = 0.0
    timeout_s: float = 5.0
    query: int = 0
    queries: int = 1
    k: int = 3
    partial: bool = False
    caller: str = "me"


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens. before: errors of the first calls at the worker; at_shard: of the first ones at single shards.

    lead_s: when another worker takes the lead of a shard, by number; gone_s: when the worker has left.
    """

    asked: list[Asked]
    before: list[ShoalError | None] = field(default_factory=list)
    at_shard: dict[int, list[ShoalError | None]] = field(default_factory=dict)
    older: bool = False
    frozen: bool = False
    lead_s: dict[int, float] = field(default_factory=dict)
    gone_s: float | None = None


def shard(number: int) -> ShardId:
    return ShardId(CollectionId("id-a"), number)


QUERIES = np.random.default_rng(4).integers(-2, 3, size=(12, 4)).astype(np.float32)


class Scene:
    """Two workers with replicas of four shards. The first one leads them all, and only primaries are asked."""

    def __init__(self, cluster: type[TwinCluster]) -> None:
        self.counted = Counted()
        self.cluster = cluster(workers=2, clock=FakeClock(), metrics=self.counted)
        self.cluster.add("a", shards=SHARDS, replicas=2)
        for number in range(SHARDS):
            self.cluster.lead(shard(number), "w0")
        self.workers = list(self.cluster.workers.values())
        self.forms: dict[object, SearchForm] = {}
        self.in_bytes = 0

    async def load(self) -> None:
        vectors = np.random.default_rng(3).integers(-2, 3, size=(50, 4)).astype(np.float32)
        ids = id_array(f"id {number}" if number % 4 == 0 else number for number in range(50))
        points = PointColumns(ids=ids, vectors=vectors, payloads=tuple(b'{"at":%d}' % at for at in range(50)))
        await self.cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
        for worker in self.workers:
            worker.delay_s = USUAL_S
            worker.calls.clear()

    def question(self, asked: Asked) -> Search:
        return Search(
            collection="a",
            queries=QUERIES[asked.query : asked.query + asked.queries],
            groups=(QueryGroup(k=asked.k),),
            with_vectors=True,
            allow_partial=asked.partial,
            read=ReadAs(consistency=Consistency.PRIMARY, caller=asked.caller),
        )

    async def search(self, asked: Asked) -> Found:
        """Search in bytes if that is possible, as the service does."""
        reads, question = self.cluster.router.reads, self.question(asked)
        key = (asked.queries, asked.k, asked.partial)
        form = self.forms.setdefault(key, SearchForm(dataclasses.replace(question, read=dataclasses.replace(question.read, caller=""))))
        work = reads.search_in_bytes(form, question.queries, asked.caller, asked.timeout_s)
        found = await (reads.search(question, asked.timeout_s) if work is None else work())
        if not isinstance(found, bytes):
            return found
        self.in_bytes += 1
        return found_from_message(search_pb2.SearchResponse.FromString(found))

    async def outcome(self, asked: Asked, started: float) -> tuple[object, ...]:
        await asyncio.sleep(asked.at_s)
        try:
            found = await self.search(asked)
        except ShoalError as error:
            return type(error), error.message, error.details, self.cluster.clock.now - started
        return found_to_message(found).SerializeToString(), self.cluster.clock.now - started

    async def play(self, script: Script) -> list[tuple[object, ...]]:
        await self.load()
        worker = self.workers[0]
        worker.before, worker.older, worker.frozen = list(script.before), script.older, script.frozen
        worker.at_shard = {shard(number): list(errors) for number, errors in script.at_shard.items()}
        loop, started = asyncio.get_running_loop(), self.cluster.clock.now
        for number, at_s in script.lead_s.items():
            loop.call_later(at_s, self.cluster.lead, shard(number), "w1")
        if script.gone_s is not None:
            loop.call_later(script.gone_s, self.cluster.remove_worker, "w0")
        tending = asyncio.create_task(tend((*self.cluster.router.tended, self.cluster.calls), self.cluster.view))
        try:
            return await asyncio.gather(*(self.outcome(asked, started) for asked in script.asked))
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)

    def seen(self) -> list[object]:
        """What the workers were asked, and what was counted."""
        return [[said(call) for call in worker.calls] for worker in self.workers] + [self.counted.sums]


def said(call: object) -> tuple[object, ...]:
    match call:
        case ShardSearch(shard=one):
            return (one.number,), call.queries.tobytes(), call.terms.caller
        case ShardsSearch(shards=several):
            return tuple(each.number for each in several), call.queries.tobytes(), call.caller
    raise AssertionError(f"not a search: {call}")


def played(script: Script, cluster: type[TwinCluster] = EncodedCluster) -> tuple[list[tuple[object, ...]], Scene]:
    scene = Scene(cluster)
    return run(scene.cluster.clock, scene.play(script)), scene


def agrees(script: Script) -> Scene:
    """Play a script both ways, and compare. Return the scene of the searches in bytes."""
    outcomes, scene = played(script)
    general, twin = played(script, TwinCluster)
    assert outcomes == general
    assert scene.seen() == twin.seen()
    assert twin.in_bytes == 0
    return scene


errors: st.SearchStrategy[ShoalError | None] = st.one_of(st.none(), st.sampled_from(ERRORS))
searches = st.builds(
    Asked,
    at_s=st.sampled_from([0.0, 0.0, 0.001, 0.004, 0.05]),
    timeout_s=st.sampled_from([5.0, 5.0, 0.002, 0.1]),
    query=st.integers(0, 8),
    queries=st.sampled_from([1, 1, 2]),
    k=st.sampled_from([3, 3, 5]),
    partial=st.booleans(),
    caller=st.sampled_from(["me", "you"]),
)
times = st.sampled_from([0.0, 0.001, 0.01, 0.3])
scripts = st.builds(
    Script,
    asked=st.lists(searches, min_size=1, max_size=5),
    before=st.lists(errors, max_size=3),
    at_shard=st.dictionaries(st.integers(0, SHARDS - 1), st.lists(errors, max_size=3), max_size=3),
    older=st.sampled_from([False, False, False, True]),
    frozen=st.sampled_from([False, False, False, True]),
    lead_s=st.dictionaries(st.integers(0, SHARDS - 1), times, max_size=SHARDS),
    gone_s=st.sampled_from([None, None, None, 0.001, 0.2]),
)


@settings(max_examples=1_000 if LONG else 60, deadline=None)
@given(scripts)
@example(Script(asked=[Asked(), Asked(query=1), Asked(query=2)]))
@example(Script(asked=[Asked()], frozen=True, lead_s=dict.fromkeys(range(SHARDS), 0.01)))
@example(Script(asked=[Asked(partial=True)], at_shard={1: [DataLoss("crc")] * 9}))
@example(Script(asked=[Asked(), Asked(at_s=0.05)], older=True))
def test_a_search_in_bytes_ends_as_the_general_way_ends(script: Script) -> None:
    agrees(script)


def test_searches_one_after_the_other_go_in_bytes() -> None:
    scene = agrees(Script(asked=[Asked(at_s=0.01 * number, query=number) for number in range(9)]))
    assert scene.in_bytes == 9
    assert [len(worker.calls) for worker in scene.workers] == [9, 0]


def test_searches_of_the_same_moment_are_joined_as_ever() -> None:
    scene = agrees(Script(asked=[Asked(query=0), Asked(query=1), *(Asked(at_s=0.01, query=number) for number in range(6))]))
    assert scene.in_bytes == 3, "two before it is known how long a query takes, and the first one of the others"
    assert scene.counted("shoal_joined_searches_total") == 5


@pytest.mark.parametrize("error", ERRORS[:1])
def test_after_a_failure_the_same_form_goes_in_bytes_again(error: ShoalError) -> None:
    scene = agrees(Script(asked=[Asked(), Asked(at_s=1.0)], before=[error]))
    assert scene.in_bytes == 1


def test_a_search_of_shards_in_several_places_goes_the_general_way() -> None:
    async def work(scene: Scene) -> None:
        await scene.load()
        await scene.search(Asked())
        scene.cluster.lead(shard(2), "w1")
        await scene.search(Asked())
        scene.cluster.lead(shard(2), "w0")
        await scene.search(Asked())

    scene = Scene(EncodedCluster)
    run(scene.cluster.clock, work(scene))
    assert scene.in_bytes == 2
    assert [[numbers for numbers, *_ in map(said, worker.calls)] for worker in scene.workers] == [
        [(0, 1, 2, 3), (0, 1, 3), (0, 1, 2, 3)],
        [(2,)],
    ]


@pytest.mark.parametrize("change", [{"explain": True}, {"radius": 1.0}, {"collection": "b"}, {"groups": (QueryGroup(k=0),)}])
def test_other_searches_go_the_general_way(change: dict[str, Any]) -> None:
    scene = Scene(EncodedCluster)
    question = dataclasses.replace(scene.question(Asked()), **change)
    assert scene.cluster.router.reads.search_in_bytes(SearchForm(question), question.queries, "me", 1.0) is None


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_queries_with_a_fault_go_the_general_way(number: float) -> None:
    scene = Scene(EncodedCluster)
    question, faulty = scene.question(Asked()), np.full((1, 4), number, np.float32)
    assert scene.cluster.router.reads.search_in_bytes(SearchForm(question), faulty, "me", 1.0) is None


def test_a_worker_that_is_down_is_not_asked_in_bytes() -> None:
    scene = Scene(EncodedCluster)
    question = scene.question(Asked())
    scene.cluster.remove_worker(WorkerId("w0"))
    assert scene.cluster.router.reads.search_in_bytes(SearchForm(question), question.queries, "me", 1.0) is None


def test_hits_that_do_not_fit_into_a_message_are_refused_as_ever() -> None:
    async def work(scene: Scene) -> ShoalError:
        await scene.load()
        scene.cluster.router.reads._limits = dataclasses.replace(scene.cluster.limits, message_bytes=64)
        with pytest.raises(ResourceExhausted) as caught:
            await scene.search(Asked(k=5))
        return caught.value

    scenes = [Scene(kind) for kind in (EncodedCluster, TwinCluster)]
    first, second = [run(scene.cluster.clock, work(scene)) for scene in scenes]
    assert first.message == second.message


def test_only_so_many_forms_and_callers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "_MOST_FORMS", 3)
    monkeypatch.setattr(hops, "_MOST_CALLERS", 2)
    scene = agrees(Script(asked=[Asked(at_s=0.01 * number, k=1 + number % 5, caller=f"caller {number % 3}") for number in range(15)]))
    assert scene.in_bytes == 15
    kept = scene.cluster.router.reads._hops._forms
    assert len(kept) <= 3
    assert all(len(hop.callers) <= 2 for hop in kept.values() if hop is not None)
