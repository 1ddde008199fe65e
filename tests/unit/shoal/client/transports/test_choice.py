from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.client.transports.auto_async import AsyncAutoTransport
from shoal.client.transports.auto_blocking import AutoTransport
from shoal.client.transports.choice import NAMES, async_transport, blocking_transport
from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.client.transports.grpc_blocking import GrpcTransport
from shoal.client.transports.loop_transports import LoopTransports
from tests.twins.router_answers import DictCluster, MockTransport


def test_each_name_has_its_transport() -> None:
    assert NAMES == ("auto", "http", "grpc")
    assert [type(blocking_transport(name, ["a:1"])) for name in ("auto", "http", "grpc")] == [AutoTransport, AutoTransport, GrpcTransport]
    kinds = [AsyncAutoTransport, AsyncAutoTransport, AsyncGrpcTransport]
    of_loops = [async_transport(name, ["a:1"]) for name in ("auto", "http", "grpc")]
    assert [type(each._make()) for each in of_loops if isinstance(each, LoopTransports)] == kinds
    own = MockTransport(DictCluster())
    assert blocking_transport(own, ["a:1"]) is own


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
@pytest.mark.parametrize("bad", ["", "HTTP", "https", "tcp", None, 7, ["grpc"], b"grpc"])
def test_another_name_is_refused_with_those_that_are_known(connect: Any, bad: Any) -> None:
    with pytest.raises(shoal.InvalidArgument, match="must be one of auto, http, grpc") as caught:
        connect("a:1", transport=bad)
    assert caught.value.details.field == "transport"


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
def test_an_http_address_does_not_go_with_grpc(connect: Any) -> None:
    with pytest.raises(shoal.InvalidArgument, match="'http://b:7680' is for HTTP") as caught:
        connect("a:1,http://b", transport="grpc")
    assert caught.value.details.field == "address"
    for name in ("auto", "http"):
        connect("a:1,http://b", transport=name)
