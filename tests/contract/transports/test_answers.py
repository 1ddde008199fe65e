"""Every call, and every error, means the same over every wire."""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.core.errors import BY_STATUS, ErrorDetails, NotConnected, ResourceExhausted
from shoal.core.fused_search import FusedSearch
from shoal.core.requests import Search, Upsert
from shoal.core.shard_calls import Consistency
from tests.contract.transports.conftest import Asking, TwoPorts, on_a_loop
from tests.support.network.ports import free_port
from tests.twins.every_verb import answers_of, awaited_answers_of
from tests.twins.router_answers import DictCluster, client_with

DETAILS = ErrorDetails(field="vectors", limit="memory", shard="c/é", index=-7, applied={"c/0": "no", "c/1": "maybe"})


def expected_answers() -> list[Any]:
    with client_with(DictCluster()) as client:
        return answers_of(client)


def test_every_verb_answers_alike_for_a_blocking_client(router: TwoPorts, wire: str) -> None:
    with router.connect(wire) as client:
        assert answers_of(client) == expected_answers()


def test_every_verb_answers_alike_for_an_asyncio_client(router: TwoPorts, wire: str) -> None:
    async def story() -> list[Any]:
        async with router.connect_async(wire) as client:
            return await awaited_answers_of(client)

    assert on_a_loop(story()) == expected_answers()


def test_vectors_by_name_arrive_as_they_were_written(router: TwoPorts, asking: Asking) -> None:
    cluster = DictCluster()
    router.answer = cluster
    with client_with(cluster) as client:
        client.create_collection("n", vectors={"image": 2, "text": 3})
    images, texts = np.array([[0, 0.1], [2, 1 / 3]], np.float32), [[1, 0, 0], None]
    asking(lambda client: client.upsert("n", [1, "b"], {"image": images, "text": texts}))
    asking(lambda client: client.upsert("n", [3], {}, [{"t": "x"}]))
    asking(lambda client: client.update_vectors("n", [3, 1], {"text": [[7, 8, 9], None]}))
    wanted = {1: {"image": images[0].tolist(), "text": [1, 0, 0]}, "b": {"image": images[1].tolist()}, 3: {"text": [7, 8, 9]}}
    assert _by_name(asking(lambda client: client.get("n", [1, "b", 3]))) == wanted
    hits = asking(lambda client: client.search("n", np.zeros(3, np.float32), using="text", with_vectors=True))
    assert _by_name(hits) == {1: wanted[1], 3: wanted[3]}
    hits = asking(lambda client: client.search("n", {"image": [0, 0], "text": [0, 0, 0]}, with_vectors=True))
    assert _by_name(hits) == wanted
    asking(lambda client: client.upsert("n", [4], {}, [{"t": "y"}]))
    assert _by_name(asking(lambda client: client.get("n", [4]))) == {4: {}}


def _by_name(read: Any) -> dict[Any, dict[str, list[float]]]:
    return {each.id: {name: vector.tolist() for name, vector in each.vector.items()} for each in read}


def test_every_error_arrives_as_it_was_raised(router: TwoPorts, asking: Asking) -> None:
    said = "it is \n 100 % é 語 😀 " + "x" * 4_000
    cases = [(kind, details) for kind in BY_STATUS.values() for details in (ErrorDetails(), DETAILS)]
    for kind, details in [*cases, (ResourceExhausted, dataclasses.replace(DETAILS, retry_after_s=0.125))]:

        def answer(address: str, request: Any, timeout_s: float, kind: Any = kind, details: ErrorDetails = details) -> Any:
            raise kind(said, details)

        router.answer = answer
        with pytest.raises(kind) as caught:
            asking(lambda client: client.count("c"), timeout=0.5)
        assert (type(caught.value), caught.value.details) == (kind, details)
        assert caught.value.message.startswith("it is \n 100 % é 語 😀 xxx")
        assert "..." in caught.value.message[:4_000]


def test_a_search_that_is_sent_as_bytes_has_all_its_options_and_the_session(router: TwoPorts, asking: Asking) -> None:
    seen: list[Any] = []
    cluster = DictCluster()

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        seen.append(request)
        return cluster(address, request, timeout_s)

    router.answer = answer
    cluster.CreateCollection(_creation())
    vector = np.array([0.5, 1.0], np.float32)
    if asking.awaits:

        async def ask(client: shoal.AsyncClient) -> Any:
            await client.upsert("c", [1], [[1, 1]])
            return await client.search("c", vector, k=3, filter={"label": 1}, exact=True)

        assert asking(ask) == []
    else:
        asking(lambda client: (client.upsert("c", [1], [[1, 1]]), client.search("c", vector, k=3, filter={"label": 1}, exact=True)))
    search = next(each for each in seen if isinstance(each, Search))
    assert search.read.consistency is Consistency.SESSION
    assert {token.shard for token in search.read.tokens} == {0, 1}
    assert search.queries.tolist() == [[0.5, 1.0]]
    assert [(group.k, group.filter is not None) for group in search.groups] == [(3, True)]


def _creation() -> Any:
    seen: list[Any] = []
    client_with(lambda address, request, timeout_s: seen.append(request)).create_collection("c", 2)
    return seen[0]


def test_nobody_there_is_told_alike(asking: Asking, router: TwoPorts) -> None:
    router.stop()
    with pytest.raises(NotConnected, match="no connection: refused, nothing listens there") as caught:
        asking(lambda client: client.count("c"), timeout=0.3)
    assert caught.value.message.startswith(router.address(asking.wire))


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70])
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_name_that_is_no_host_is_told_alike(host: str, scheme: str) -> None:
    with shoal.connect(f"{scheme}{host}:7600", timeout=5.0) as client, pytest.raises(shoal.Unavailable):
        client.count("c", timeout=0.5)


def test_a_server_that_says_nothing_is_left_at_the_deadline(asking: Asking, router: TwoPorts) -> None:
    asking(lambda client: client.list_collections())

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        raise AssertionError("it is not asked")

    router.answer = answer
    router.stop()
    with (
        socket.create_server(("127.0.0.1", router.over_http.port)),
        socket.create_server(("127.0.0.1", router.over_grpc.port)),
        pytest.raises((shoal.DeadlineExceeded, shoal.Unavailable)),
    ):
        asking(lambda client: client.count("c"), timeout=0.5)


def test_the_other_address_is_asked_when_one_does_not_answer(router: TwoPorts, wire: str) -> None:
    dead = f"127.0.0.1:{free_port()}"
    addresses = [f"http://{dead}" if wire == "http address" else dead, router.address(wire)]
    name = "auto" if wire == "http address" else wire
    with shoal.connect(addresses, transport=name) as client:  # type: ignore[arg-type]
        assert client.list_collections() == []

    async def story() -> None:
        async with shoal.connect_async(addresses, transport=name) as client:  # type: ignore[arg-type]
            assert await client.list_collections() == []

    on_a_loop(story())


def test_a_large_message_travels_whole_in_both_directions(router: TwoPorts, asking: Asking) -> None:
    cluster = DictCluster()
    cluster.CreateCollection(_creation_of("c", 500))
    router.answer = cluster
    vectors = np.random.default_rng(3).normal(size=(3_000, 500)).astype(np.float32)
    assert asking(lambda client: client.upsert("c", range(3_000), vectors)) == 3_000
    points = asking(lambda client: client.get("c", range(1_000)))
    assert np.array_equal(np.stack([point.vector for point in points]), vectors[:1_000])


def _creation_of(name: str, dim: int) -> Any:
    seen: list[Any] = []
    client_with(lambda address, request, timeout_s: seen.append(request)).create_collection(name, dim)
    return seen[0]


def test_writes_carry_one_request_id_however_often_they_are_sent(router: TwoPorts, asking: Asking) -> None:
    cluster, failing, seen = DictCluster(), [shoal.Unavailable("not ready")] * 3, []
    cluster.CreateCollection(_creation())

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        if isinstance(request, Upsert):
            seen.append(request.request_id)
            if failing:
                raise failing.pop()
        return cluster(address, request, timeout_s)

    router.answer = answer
    assert asking(lambda client: client.upsert("c", [1], [[0, 1]])) == 1
    assert (len(seen), len(set(seen))) == (4, 1)


def test_a_search_with_legs_arrives_as_it_was_asked(router: TwoPorts, asking: Asking) -> None:
    seen: list[Any] = []
    cluster = DictCluster()
    cluster.CreateCollection(_creation())

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        seen.append(request)
        return cluster(address, request, timeout_s)

    legs = [
        shoal.Dense(np.array([0.5, 1.0]), weight=0.25, min_score=-9),
        shoal.Text(
            "如何 scale",
            fields={"t": 2.5, "a.b": 1},
            must=["x"],
            must_not=["GPU"],
            phrases=["in memory"],
            prefix="re",
            match="all",
            name="words",
            weight=0,
        ),
    ]
    options: dict[str, Any] = {"fusion": "rrf", "c": 7.5, "candidates": 33, "offset": 3, "threshold": 0.125, "diversity": 0.5}
    options |= {"group_by": "a.b", "group_size": 2, "highlight": True, "explain": True, "filter": {"t": "x"}, "recall": 0.75}
    router.answer = answer
    assert asking(lambda client: client.search("c", legs=legs, k=4, **options)) == []
    expected = client_with(cluster)
    expected.search("c", legs=legs, k=4, **options)
    (wanted,) = expected.mock.requests(FusedSearch)
    assert [repr(each) for each in seen if isinstance(each, FusedSearch)] == [repr(wanted)]


@pytest.mark.parametrize("options", [{"offset": 1}, {"legs": [shoal.Dense([0, 0])]}])
def test_one_vector_may_be_a_leg(router: TwoPorts, asking: Asking, options: dict[str, Any]) -> None:
    cluster = DictCluster()
    client_with(cluster).create_collection("c", 2)
    client_with(cluster).upsert("c", [1, 2], [[0, 0], [1, 1]])
    router.answer = cluster
    found = asking(lambda client: client.search("c", None if "legs" in options else [0, 0], **options))
    assert [(hit.id, hit.legs["dense"].rank) for hit in found] == ([(2, 2)] if "offset" in options else [(1, 1), (2, 2)])
