"""A server on the HTTP port that misbehaves: each fault is a typed error before the deadline, and no call hangs."""

from __future__ import annotations

import random
from typing import Any

import pytest

import shoal
from shoal.client.transports.auto_async import AsyncAutoTransport
from shoal.client.transports.auto_blocking import AutoTransport
from shoal.core.errors import NotConnected, ShoalError
from shoal.core.requests import Count
from tests.contract.transports.conftest import PATIENCE_S, TwoPorts, on_a_loop
from tests.twins.connect_server import Behaviour, dripping, hanging_up, saying, silent, written
from tests.twins.grpc_server import PlainGrpcServer
from tests.twins.router_answers import DictCluster, client_with

PROTO, JSON = "application/proto", "application/json"
TIMEOUT_S = 0.4
"""For what never ends by itself."""

NO_ROUTER = "no router of Shoal answers at http://"
GOOD = written(200, b"\x08\x01", PROTO)

FAULTS: dict[str, tuple[Behaviour, type[ShoalError], str]] = {
    "hangs up": (hanging_up, NotConnected, "the connection was lost"),
    "cut head": (saying(GOOD[:30]), NotConnected, "the connection was lost"),
    "cut body": (saying(GOOD[:-1]), NotConnected, "the connection was lost"),
    "cut piece": (
        saying(b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ntransfer-encoding: chunked\r\n\r\n9\r\n\x08\x01"),
        NotConnected,
        "the connection was lost",
    ),
    "silence": (silent(30.0), shoal.DeadlineExceeded, "no answer came in time"),
    "silence after a part": (saying(GOOD[:-1], then_close=False), shoal.DeadlineExceeded, "no answer came in time"),
    "drip": (dripping(GOOD, 0.2), shoal.DeadlineExceeded, "no answer came in time"),
    "banner": (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), shoal.Unavailable, NO_ROUTER),
    "garbage": (saying(bytes(range(256)) * 40), shoal.Unavailable, NO_ROUTER),
    "http/2": (saying(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"), shoal.Unavailable, NO_ROUTER),
    "huge head": (saying(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000), shoal.Unavailable, NO_ROUTER),
    "no length": (saying(b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\n\r\n\x08\x01"), shoal.Unavailable, NO_ROUTER),
    "two lengths": (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n\x08\x01"), shoal.Unavailable, NO_ROUTER),
    "compressed": (saying(written(200, b"\x1f\x8b", PROTO, "content-encoding: gzip")), shoal.Unavailable, NO_ROUTER),
    "huge body": (
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"),
        shoal.ResourceExhausted,
        "a message of 99,999,999,999 bytes is too large for the receiver, which takes",
    ),
    "web page": (saying(written(200, b"<html>", "text/html")), shoal.PreconditionFailed, NO_ROUTER),
    "not found": (saying(written(404, b"<html>", "text/html")), shoal.PreconditionFailed, NO_ROUTER),
    "login": (saying(written(401, b"", "text/html")), shoal.PreconditionFailed, NO_ROUTER),
    "moved": (saying(b"HTTP/1.1 302 Found\r\nlocation: http://evil/\r\n\r\n"), shoal.PreconditionFailed, NO_ROUTER),
    "gateway": (saying(written(502, b"<html>", "text/html")), shoal.Unavailable, NO_ROUTER),
    "busy proxy": (saying(written(503, b"", "text/plain")), shoal.Unavailable, NO_ROUTER),
    "another": (saying(written(421, b'{"code":"unavailable"}', JSON)), shoal.Unavailable, NO_ROUTER),
    "unknown call": (saying(written(404, b'{"code":"unimplemented","message":"x"}', JSON)), shoal.PreconditionFailed, "too old to know"),
    "too late": (saying(written(504, b'{"code":"deadline_exceeded"}', JSON)), shoal.DeadlineExceeded, "no answer came in time"),
    "json of others": (saying(written(400, b'{"error":"x"}', JSON)), shoal.PreconditionFailed, NO_ROUTER),
    "deep json": (saying(written(500, b"[" * 50_000, JSON)), shoal.PreconditionFailed, NO_ROUTER),
    "no message": (saying(written(200, b"\xff", PROTO)), shoal.Internal, "cannot be read"),
    "details that are none": (
        saying(written(404, b'{"code":"not_found","details":[{"type":"shoal.v1.ErrorInfo","value":"!!"}]}', JSON)),
        shoal.PreconditionFailed,
        NO_ROUTER,
    ),
}


@pytest.fixture(scope="module")
def broken() -> Any:
    """A router whose HTTP port does what a test tells it."""
    made = TwoPorts()
    made.start()
    yield made
    made.stop()


def failing_always(router: TwoPorts, behave: Behaviour) -> None:
    router.over_http.behave = behave  # type: ignore[method-assign]


REQUEST = Count(collection="c")


def asked_once(router: TwoPorts, timeout_s: float, *, awaits: bool) -> Any:
    """Make one attempt of a call. Return its answer or its error."""
    address = router.address("http address")

    async def story() -> Any:
        transport = AsyncAutoTransport()
        try:
            return await transport.send(address, REQUEST, timeout_s)
        finally:
            await transport.close()

    try:
        if awaits:
            return on_a_loop(story())
        transport = AutoTransport()
        try:
            return transport.send(address, REQUEST, timeout_s)
        finally:
            transport.close()
    except ShoalError as error:
        return error


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("awaits", [False, True])
def test_each_fault_has_its_error(broken: TwoPorts, fault: str, awaits: bool) -> None:
    behave, kind, words = FAULTS[fault]
    failing_always(broken, behave)
    error = asked_once(broken, TIMEOUT_S if kind is shoal.DeadlineExceeded else PATIENCE_S, awaits=awaits)
    assert type(error) is kind, error
    assert words in error.message
    assert broken.over_http.address in error.message


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("awaits", [False, True])
def test_whatever_a_server_writes_a_call_ends_with_a_typed_error_or_an_answer(broken: TwoPorts, seed: int, awaits: bool) -> None:
    chance = random.Random(seed)
    data = bytearray(chance.choice([GOOD, written(404, b'{"code":"not_found"}', JSON), b"HTTP/1.1 200 OK\r\n\r\n"]))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))

    def behave(peer: Any, request: Any) -> bool:
        for start in range(0, len(data), 17):
            peer.sendall(bytes(data[start : start + 17]))
        return False

    failing_always(broken, behave)
    assert isinstance(asked_once(broken, PATIENCE_S, awaits=awaits), int | ShoalError)


@pytest.mark.parametrize("fault", ["hangs up", "cut body", "garbage", "busy proxy"])
@pytest.mark.parametrize("awaits", [False, True])
def test_a_fault_that_passes_is_not_seen_by_the_caller(broken: TwoPorts, fault: str, awaits: bool) -> None:
    cluster = DictCluster()
    with client_with(cluster) as client:
        client.create_collection("c", 2)
    broken.answer = cluster
    failing_always(broken, type(broken.over_http).behave.__get__(broken.over_http))
    broken.over_http.next = [FAULTS[fault][0]] * 2

    async def story() -> tuple[int, int]:
        async with broken.connect_async("http address") as client:
            return await client.upsert("c", [7], [[0, 1]]), await client.count("c")

    if awaits:
        assert on_a_loop(story()) == (1, 1)
    else:
        with broken.connect("http address") as client:
            assert (client.upsert("c", [7], [[0, 1]]), client.count("c")) == (1, 1)


def test_a_grpc_port_given_as_http_is_told() -> None:
    with PlainGrpcServer(lambda path, data, timeout_s: b"") as server:
        client = shoal.connect(f"http://{server.address}", timeout=1.0)
        with client, pytest.raises(shoal.Unavailable) as caught:
            client.count("c")
    assert server.address in caught.value.message
