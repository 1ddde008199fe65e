"""Batches of queries of any size."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.many import groups_within, pieces_of
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import FusedSearch
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Search
from shoal.core.shard_calls import QueryGroup
from tests.twins.router_answers import DictCluster, async_client_with, client_with
from tests.twins.router_bytes import bytes_client_with


@pytest.fixture(params=[client_with, bytes_client_with])
def client(request):
    with request.param(DictCluster()) as made:
        made.create_collection("c", dim=2)
        made.upsert("c", [1, 2, 3], [[0, 0], [4, 0], [9, 0]], [{"a": 1}, {"a": 2}, {"a": 1}])
        yield made


def rows(count):
    return np.array([[at % 10, 0] for at in range(count)], dtype=np.float32)


def test_more_queries_than_a_call_takes_are_asked_in_several(client):
    asked = rows(9_000)
    hits = client.search_many("c", asked, k=1)
    assert [len(request.queries) for request in client.mock.requests(Search)] == [4_096, 4_096, 808]
    assert [each[0].id for each in hits] == [1 if x < 2.5 else 2 if x < 6.5 else 3 for x in asked[:, 0]]


def test_more_hits_than_a_call_gives_are_asked_for_in_several(client):
    client.search_many("c", rows(70), k=16_384)
    sent = [len(request.queries) for request in client.mock.requests(Search)]
    assert sent == [61, 9]


def test_each_query_keeps_its_k_and_filter(client):
    count = 5_000
    ks, filters = [1 + at % 3 for at in range(count)], [[None, {"a": 1}][at % 2] for at in range(count)]
    hits = client.search_many("c", rows(count), k=ks, filter=filters)
    assert [len(each) for each in hits] == [min(k, 3 if filter is None else 2) for k, filter in zip(ks, filters, strict=True)]
    assert all(hit.payload == {"a": 1} for each, filter in zip(hits, filters, strict=True) if filter for hit in each)
    assert len(client.mock.requests(Search)) == 2


def test_a_radius_marks_more_of_each_query(client):
    hits = client.search_many("c", rows(4_100), k=2, radius=30.0)
    assert [each.more for each in hits] == [len(each) == 2 for each in hits]
    assert {group.k for request in _after(client, 4_100, radius=30.0) for group in request.groups} == {244}


def _after(client, count, **options):
    before = len(client.mock.requests(Search))
    client.search_many("c", rows(count), **options)
    return client.mock.requests(Search)[before:]


def test_searches_with_legs_are_cut_too(client):
    client.alter_collection("c", text={"t": "auto"})
    client.upsert("c", [4], [[1, 1]], [{"t": "word"}])
    hits = client.search_many("c", rows(4_100), text=["word"] * 4_100, k=1, candidates=5)
    assert [len(request.legs[0]) for request in client.mock.requests(FusedSearch)] == [4_096, 4]
    assert len(hits) == 4_100


def test_the_async_client_cuts_too():
    async def run():
        async with async_client_with(DictCluster()) as client:
            await client.create_collection("c", dim=2)
            await client.upsert("c", [1], [[0, 0]])
            hits = await client.search_many("c", rows(4_097), k=1)
            return len(hits), len(client.mock.requests(Search))

    assert asyncio.run(run()) == (4_097, 2)


def test_an_error_names_the_query_as_the_caller_counts():
    cluster = DictCluster()

    def answer(address, request, timeout_s):
        if isinstance(request, Search) and len(request.queries) < 100:
            raise InvalidArgument("vectors[3] is zero", ErrorDetails(field="vectors", index=3))
        return cluster(address, request, timeout_s)

    with client_with(answer) as client:
        client.create_collection("c", dim=2)
        client.upsert("c", [1], [[0, 0]])
        with pytest.raises(InvalidArgument, match=r"vectors\[4099\] is zero") as caught:
            client.search_many("c", rows(4_100), k=1)
    assert caught.value.details.index == 4_099


@settings(max_examples=60)
@given(st.lists(st.integers(1, 16_384), min_size=1, max_size=300), st.integers(4, 4 * 65_536), st.integers(1, 3_000))
def test_pieces_cover_all_queries_and_keep_to_the_bounds(ks, query_bytes, found):
    groups = tuple(QueryGroup(k=k, queries=np.flatnonzero(np.array(ks) == k)) for k in sorted(set(ks)))
    pieces = pieces_of(groups, len(ks), query_bytes=query_bytes, found=found)
    assert [at for start, end in pieces for at in range(start, end)] == list(range(len(ks)))
    for start, end in pieces:
        assert (end - start) * query_bytes <= DEFAULT_LIMITS.message_bytes / 2
        assert sum(max(k, found) for k in ks[start:end]) <= DEFAULT_LIMITS.batch_hits
        told = {}
        for group in groups_within(groups, (start, end)):
            for at in range(end - start) if group.queries is None else group.queries.tolist():
                told[at] = group.k
        assert [told[at] for at in range(end - start)] == ks[start:end]
