"""connect(host, port), SHOAL_ADDRESS, what a client shows of itself, and how soon it says that nothing listens."""

import asyncio
import importlib.metadata

import numpy as np
import pytest

import shoal
from shoal.client.flow import UsualTimeout
from shoal.core.errors import InvalidArgument, NotConnected, NotReached, TlsMismatch, Unavailable
from tests.support.network.ports import free_port
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with
from tests.twins.router_bytes import bytes_client_with

BOTH = [shoal.connect, shoal.connect_async]


@pytest.mark.parametrize("connect", BOTH)
@pytest.mark.parametrize(
    ("given", "address"),
    [
        (("db", 7700), "db:7700"),
        (("::1", 7700), "[::1]:7700"),
        (("[::1]", 7700), "[::1]:7700"),
        (("http://db", 7780), "http://db:7780"),
        (("db",), "db:7600"),
        ((["a:1", "b"],), "a:1,b:7600"),
    ],
)
def test_a_client_shows_the_addresses_it_asks(connect, given, address):
    kind = "Client" if connect is shoal.connect else "AsyncClient"
    assert repr(connect(*given)) == f"<shoal.{kind} {address}>"


@pytest.mark.parametrize("connect", BOTH)
@pytest.mark.parametrize(
    ("host", "port"), [("a:1", 2), ("a,b", 2), (["a"], 2), ("", 2), (None, 2), ("a", 0), ("a", 65_536), ("a", "7"), ("a", True)]
)
def test_a_port_goes_with_one_host(connect, host, port):
    with pytest.raises(InvalidArgument, match="port"):
        connect(host, port)


@pytest.mark.parametrize("connect", BOTH)
def test_the_environment_names_the_address_that_is_not_given(connect, monkeypatch):
    monkeypatch.delenv("SHOAL_ADDRESS", raising=False)
    assert "localhost:7600>" in repr(connect())
    monkeypatch.setenv("SHOAL_ADDRESS", "a:1,b:2")
    assert " a:1,b:2>" in repr(connect())
    assert " c:3>" in repr(connect("c:3"))
    assert " localhost:9>" in repr(connect(port=9))
    monkeypatch.setenv("SHOAL_ADDRESS", "a b")
    with pytest.raises(InvalidArgument, match=r"'a b' must look like.*SHOAL_ADDRESS"):
        connect()


def test_the_package_tells_its_version():
    assert shoal.__version__ == importlib.metadata.version("shoal")
    assert "__version__" in dir(shoal)


def refusing(address, request, timeout_s):
    raise NotReached(f"{address}: no connection: refused, nothing listens there")


@pytest.mark.parametrize("address", ["one:1", "one:1,two:2,three:3"])
def test_a_client_that_never_reached_a_router_says_so_after_a_second(address):
    clock = PausingClock()
    with client_with(refusing, address=address, clock=clock) as client:
        with pytest.raises(NotReached, match=r"nothing listens there.*gave up after"):
            client.upsert("c", [1], [[0, 0]])
        assert 0.9 <= clock.now - 100 <= 1.0
        assert {sent[0] for sent in client.mock.sent} == set(address.split(","))


def test_the_async_client_says_it_after_a_second_too():
    async def told():
        clock = PausingClock()
        async with async_client_with(refusing, clock=clock) as client:
            with pytest.raises(NotReached):
                await client.create_collection("c", 2)
        return clock.now - 100

    assert 0.9 <= asyncio.run(told()) <= 1.0


@pytest.mark.parametrize(("of_client", "of_call"), [(30, None), (None, 30), (UsualTimeout(5), 30)])
def test_a_timeout_that_was_given_is_waited_for(of_client, of_call):
    clock = PausingClock()
    with client_with(refusing, clock=clock, timeout=of_client) as client, pytest.raises(NotReached):
        client.count("c", timeout=of_call)
    assert 29.9 <= clock.now - 100 <= 30.0


@pytest.mark.parametrize("make", [client_with, bytes_client_with])
def test_a_client_that_was_answered_waits_for_its_routers(make):
    cluster, clock = DictCluster(), PausingClock()
    with client_with(cluster) as other:
        other.create_collection("c", dim=2)
        other.upsert("c", [1], [[0, 0]])
    down = []

    def answer(*call):
        return refusing(*call) if down else cluster(*call)

    with make(answer, clock=clock) as client:
        client.search("c", np.zeros(2, np.float32))
        down.append(True)
        with pytest.raises(NotReached):
            client.count("c")
    assert 9.9 <= clock.now - 100 <= 10.0


@pytest.mark.parametrize("error", [Unavailable("no primary"), NotConnected("the connection was lost")])
def test_a_server_that_is_there_is_waited_for(error):
    clock, said = PausingClock(), [error]

    def answer(address, request, timeout_s):
        raise said.pop() if said else NotReached("no connection: refused, nothing listens there")

    with client_with(answer, clock=clock) as client, pytest.raises(NotReached):
        client.count("c")
    assert 9.9 <= clock.now - 100 <= 10.0


def mismatched(address, request, timeout_s):
    raise TlsMismatch(f"{address}: no connection: its certificate has expired")


@pytest.mark.parametrize("address", ["one:1", "one:1,two:2,three:3"])
def test_what_is_wrong_about_tls_is_told_once_each_router_was_asked_whatever_the_timeout(address):
    clock = PausingClock()
    with client_with(mismatched, address=address, clock=clock) as client:
        with pytest.raises(TlsMismatch, match=r"^[a-z]+:\d: no connection: its certificate has expired$"):
            client.upsert("c", [1], [[0, 0]], timeout=600)
        assert [sent[0] for sent in client.mock.sent] == address.split(",")
        assert clock.now == 100


def test_another_router_is_asked_where_one_does_not_fit():
    cluster = DictCluster()

    def answer(address, request, timeout_s):
        return mismatched(address, request, timeout_s) if address == "one:1" else cluster(address, request, timeout_s)

    with client_with(answer, address="one:1,two:2") as client:
        client.create_collection("c", dim=2)


def test_a_client_that_was_answered_waits_while_certificates_are_replaced():
    cluster, clock, wrong = DictCluster(), PausingClock(), []

    def answer(*call):
        return mismatched(*call) if wrong else cluster(*call)

    with client_with(answer, clock=clock) as client:
        client.create_collection("c", dim=2)
        wrong.append(True)
        with pytest.raises(TlsMismatch, match="gave up after"):
            client.count("c", timeout=30)
    assert 29.9 <= clock.now - 100 <= 30.0


def test_one_router_of_several_is_enough():
    cluster, clock = DictCluster(), PausingClock()

    def answer(address, request, timeout_s):
        return cluster(address, request, timeout_s) if address == "three:3" else refusing(address, request, timeout_s)

    with client_with(answer, address="one:1,two:2,three:3", clock=clock) as client:
        client.create_collection("c", dim=2)
    assert clock.pauses == []


@pytest.mark.parametrize("transport", ["auto", "grpc", "http"])
def test_a_port_where_nothing_listens_is_told_as_not_reached(transport):
    address = f"127.0.0.1:{free_port()}"
    with shoal.connect(address, transport=transport) as client, pytest.raises(NotReached, match=r"refused, nothing listens there.*gave up"):
        client.list_collections()
