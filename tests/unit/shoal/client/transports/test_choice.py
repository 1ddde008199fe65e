from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.client.transports.auto_async import AsyncAutoTransport
from shoal.client.transports.auto_blocking import AutoTransport
from shoal.client.transports.choice import NAMES, async_transport, blocking_transport
from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.client.transports.grpc_blocking import GrpcTransport
from shoal.client.transports.loop_transports import LoopTransports
from tests.support.network.certificates import Authority
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


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
def test_the_scheme_of_an_http_address_fits_what_is_given(connect: Any, tmp_path: Path) -> None:
    ca = str(Authority(tmp_path, "ours").ca)
    with pytest.raises(shoal.InvalidArgument, match="'https://b:7680' is for TLS: give tls_ca") as caught:
        connect("a:1,https://b")
    assert caught.value.details.field == "tls_ca"
    with pytest.raises(shoal.InvalidArgument, match="'http://b:1' is without TLS, and tls_ca is given: give https://b:1") as caught:
        connect("http://b:1", tls_ca=ca)
    assert caught.value.details.field == "address"
    with pytest.raises(shoal.InvalidArgument, match="'https://b:1' is for HTTP, and transport is 'grpc'"):
        connect("https://b:1", tls_ca=ca, transport="grpc")
    for address in ("https://b", "a:1,https://[::1]:2", "a"):
        connect(address, tls_ca=Path(ca))


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
@pytest.mark.parametrize(
    ("files", "said", "field"),
    [
        ({"tls_ca": "no-such-file"}, "tls_ca no-such-file cannot be read: No such file", "tls_ca"),
        ({"tls_ca": ""}, "tls_ca is empty", "tls_ca"),
        ({"tls_ca": 7}, "tls_ca is 7, it must be the path of a file", "tls_ca"),
        ({"tls_ca": b"ca.pem"}, "tls_ca is b'ca.pem', it must be the path", "tls_ca"),
        ({"tls_cert": "c", "tls_key": "k"}, "tls_cert is 'c', it needs tls_ca too", "tls_ca"),
        ({"tls_ca": "a", "tls_cert": "c"}, "tls_cert is 'c', it needs tls_key too", "tls_key"),
        ({"tls_ca": "a", "tls_key": "k"}, "tls_key is 'k', it needs tls_cert too", "tls_cert"),
    ],
)
def test_files_that_cannot_be_used_are_named(connect: Any, files: dict[str, Any], said: str, field: str) -> None:
    with pytest.raises(shoal.InvalidArgument, match=said) as caught:
        connect("a:1", **files)
    assert caught.value.details.field == field
