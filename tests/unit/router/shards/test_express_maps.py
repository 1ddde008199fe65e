"""Whatever the map says of replicas, and however old it is: one call for all shards answers as shard by shard, or
leaves the search to that way, with its errors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId, Term
from shoal.core.metric import Metric
from shoal.core.points import PointColumns
from shoal.core.requests import ReadAs, Search, SearchForm, Upsert
from shoal.core.shard_calls import Consistency, QueryGroup
from shoal.router.wiring import Router
from tests.support.scope import LONG
from tests.support.worker.local_shards import ELSEWHERE, HERE, OTHER_REPLICA, LocalShards, local_shards
from tests.support.worker.replica_bench import REPLICA
from tests.twins.cluster import worker_entry

BOTH = {REPLICA: HERE, OTHER_REPLICA: ELSEWHERE}
PLACES = {
    "here": {"isr": (REPLICA,), "primary": REPLICA, "worker_of": {REPLICA: HERE}},
    "both, led here": {"isr": (REPLICA, OTHER_REPLICA), "primary": REPLICA, "worker_of": BOTH},
    "both, led elsewhere": {"isr": (REPLICA, OTHER_REPLICA), "primary": OTHER_REPLICA, "worker_of": BOTH},
    "a learner is here": {"isr": (OTHER_REPLICA,), "learners": (REPLICA,), "primary": OTHER_REPLICA, "worker_of": BOTH},
    "eligible here": {"isr": (OTHER_REPLICA,), "elr": (REPLICA,), "primary": OTHER_REPLICA, "worker_of": BOTH},
    "elsewhere": {"isr": (OTHER_REPLICA,), "primary": OTHER_REPLICA, "worker_of": {OTHER_REPLICA: ELSEWHERE}},
}
"""Configurations of one shard. Both workers answer from the same replica."""


@dataclass(frozen=True)
class Moment:
    """One map, and what is true at the worker. places: of the two shards; live: whether the worker elsewhere is in the
    map; later_term: the map is older or newer than the replica; lease: whether the worker's lease is certain."""

    places: tuple[str, str]
    live: bool
    later_term: bool
    lease: bool


moments = st.builds(
    Moment,
    places=st.tuples(st.sampled_from(list(PLACES)), st.sampled_from(list(PLACES))),
    live=st.sampled_from([True, True, False]),
    later_term=st.booleans(),
    lease=st.sampled_from([True, True, False]),
)


@settings(max_examples=150 if LONG else 10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(played=st.lists(st.tuples(moments, st.sampled_from(list(Consistency))), min_size=2, max_size=6))
@example(
    played=[
        (Moment((place, "here"), live=True, later_term=False, lease=True), consistency)
        for place in PLACES
        for consistency in (Consistency.ANY, Consistency.PRIMARY)
    ]
)
def test_any_map_gives_the_answer_or_the_error_of_shard_by_shard(
    played: list[tuple[Moment, Consistency]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_compared(played, tmp_path_factory.mktemp("shards")))


async def _compared(played: list[tuple[Moment, Consistency]], folder: Path) -> None:
    async with local_shards(folder, CollectionSpec(name="a", dim=4, metric=Metric.L2, shards=2), growing_rows=16) as shards:
        vectors = np.arange(240, dtype=np.float32).reshape(60, 4) % 7
        points = PointColumns(ids=np.arange(60), vectors=vectors, payloads=None)
        await shards.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
        terms = {shard: entry.config.term for shard, entry in shards.view.current.shards.items()}
        for number, (moment, consistency) in enumerate(played):
            _begin(shards, moment, terms)
            question = Search(
                collection="a",
                queries=np.full((1, 4), number % 5, dtype=np.float32),
                groups=(QueryGroup(k=7),),
                with_payload=False,
                read=ReadAs(consistency=consistency),
            )
            told = [await _told(router, question) for router in (shards.router, shards.general)]
            assert told[0] == told[1]
            at_once = shards.router.reads.search_at_once(SearchForm(question), question.queries)
            if at_once is not None:
                assert (at_once.ids.tolist(), at_once.scores.tolist()) == told[1], "no error is left out"
            if moment.places == ("here", "here") and consistency is Consistency.ANY:
                assert at_once is not None


def _begin(shards: LocalShards, moment: Moment, terms: dict[ShardId, Term]) -> None:
    workers = {HERE: worker_entry(HERE), **({ELSEWHERE: worker_entry(ELSEWHERE)} if moment.live else {})}
    shards.change(workers=workers)
    for (shard, term), place in zip(terms.items(), moment.places, strict=True):
        parts = {"elr": (), "learners": (), **PLACES[place], "term": Term(term + 1) if moment.later_term else term}
        shards.configure(shard, **parts)
    for bench in shards.benches.values():
        bench.lease[0] = moment.lease


async def _told(router: Router, question: Search) -> object:
    """Return ids and scores, or the kind of the error."""
    try:
        hits = (await router.reads.search(question, 0.1)).hits
    except ShoalError as error:
        return type(error)
    return hits.ids.tolist(), hits.scores.tolist()
