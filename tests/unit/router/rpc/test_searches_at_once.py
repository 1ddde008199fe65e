"""The door that answers searches that have come together: which of them are one search, and which go alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import Unavailable
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.router.rpc import search_service
from shoal.router.rpc.search_service import SearchService
from shoal.shard_worker.replica.express import ReplicasSearch
from tests.support.worker.local_shards import LocalShards
from tests.unit.router.rpc.test_search_at_once import LEFT, QUERY, Context, labelled, request, with_service


def _alone(service: SearchService, requests: list[bytes]) -> list[Any]:
    return [service.search_at_once(each, Context()) for each in requests]


def _together(service: SearchService, requests: list[bytes], context: Context | None = None) -> list[Any]:
    return list(service.searches_at_once([(each, context or Context()) for each in requests]))


@pytest.mark.parametrize("metric", list(Metric))
def test_searches_of_one_form_are_one_search_and_count_one_by_one(metric: Metric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    usual = ReplicasSearch.run_for_each

    def counted(search: ReplicasSearch, queries: Any) -> Any:
        runs.append(len(queries))
        return usual(search, queries)

    monkeypatch.setattr(ReplicasSearch, "run_for_each", counted)

    async def work(service: SearchService, shards: LocalShards) -> None:
        queries = [QUERY + np.float32(at) for at in range(20)]
        few = [request(query, k=2).SerializeToString() for query in queries]
        many = [request(query, k=5, with_payload=True).SerializeToString() for query in queries[:3]]
        mixed = [few[0], *many, *few[1:]]
        alone, tuners = _alone(service, mixed), _tuners(shards)
        before = [tuner._queries.heard for tuner in tuners]
        assert _together(service, mixed) == alone
        assert None not in alone
        assert runs == [16, 4, 3]
        assert [tuner._queries.heard - heard for tuner, heard in zip(tuners, before, strict=True)] == [23, 23]

    with_service(tmp_path, work, metric=metric)


def _tuners(shards: LocalShards) -> list[Any]:
    return [bench.replica.vectors.of("").tuner for bench in shards.benches.values()]


def test_whatever_is_unusual_goes_alone(tmp_path: Path) -> None:
    async def work(service: SearchService, _: LocalShards) -> None:
        plain = [request(QUERY + np.float32(at)).SerializeToString() for at in range(2)]
        unusual = [
            b"\xff\xff",
            request(np.tile(QUERY, (2, 1))).SerializeToString(),
            request(k=4).SerializeToString(),
            *[each.SerializeToString() for each in LEFT if each.ByteSize() < 10_000],
            *[request(filter=labelled(1)).SerializeToString()] * 2,
            *[request(params={"ef": 9}).SerializeToString()] * 2,
        ]
        answers = _together(service, [plain[0], *unusual, plain[1]])
        assert [answers[0], answers[-1]] == _alone(service, plain)
        assert answers[1:-1] == [None] * len(unusual)
        assert _together(service, plain, Context(0.0)) == [None, None], "their time is over"
        faulty = request(np.full((1, 4), np.nan, dtype=np.float32)).SerializeToString()
        assert _together(service, [plain[0], faulty]) == [None, None], "one is left"

    with_service(tmp_path, work)


def test_an_answer_that_is_too_large_is_left_to_the_other_door(tmp_path: Path) -> None:
    async def work(service: SearchService, _: LocalShards) -> None:
        assert None not in _together(service, [request(k=1).SerializeToString()] * 2)
        assert _together(service, [request(k=20, with_payload=True).SerializeToString()] * 2) == [None, None]

    with_service(tmp_path, work, limits=Limits(message_bytes=200))


def test_if_the_common_search_fails_each_is_tried_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(service: SearchService, shards: LocalShards) -> None:
        requests = [request(QUERY + np.float32(at)).SerializeToString() for at in range(3)]
        assert None not in _together(service, requests)
        with monkeypatch.context() as patch:
            patch.setattr(ReplicasSearch, "_are_sure", lambda _: False)
            assert _together(service, requests) == [None] * 3
        with monkeypatch.context() as patch:

            def refuses(*_: Any) -> None:
                raise Unavailable("no")

            patch.setattr(ReplicasSearch, "run_for_each", refuses)
            assert _together(service, requests) == [None] * 3
        assert None not in _together(service, requests)

    with_service(tmp_path, work)


def test_many_are_searched_in_runs_of_a_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_service, "MOST_TOGETHER", 2)

    async def work(service: SearchService, _: LocalShards) -> None:
        requests = [request(QUERY + np.float32(at)).SerializeToString() for at in range(5)]
        alone = _alone(service, requests)
        assert _together(service, requests) == [*alone[:4], None], "the last one is alone"

    with_service(tmp_path, work)
