"""Test the HTTP port of a router: what the guide shows with curl, and what bytes of any kind do to it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shoal
from shoal.core.errors import NotFound
from shoal.v1 import search_pb2
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.http_requests import chunked, request_bytes, search_bytes
from tests.support.network.ports import free_port
from tests.support.network.tcp_proxy import ProxyThread
from tests.support.scope import LONG

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "http.md"
BLOCKS = re.findall(r"^```(sh|json)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def contains(answer: Any, shown: Any) -> bool:
    """Whether an answer has everything that the page shows."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(name in answer and contains(answer[name], value) for name, value in shown.items())
    return bool(answer == shown)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl IS MISSING: the examples of docs/guide/http.md are not tested")
def test_the_guide_does_what_it_shows(shared_cluster: RoleCluster, client: shoal.Client) -> None:
    with contextlib.suppress(NotFound):
        client.drop_collection("curled")
    answers = 0
    answer: Any = None
    for kind, text in BLOCKS:
        if kind == "json":
            assert contains(answer, json.loads(text)), answer
            answers += 1
            continue
        assert text.count("localhost:7680") == 1
        command = text.replace("localhost:7680", f"127.0.0.1:{shared_cluster.http_port}")
        ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
        answer = json.loads(ended.stdout)
        assert "code" not in answer or '"nothing"' in text, answer
    assert answers == 5
    client.drop_collection("curled")


def exchanged(port: int, data: bytes, *, whole: bool = True) -> bytes:
    """Send bytes, and return all that comes until the other side closes. whole: close our side behind them."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        with contextlib.suppress(ConnectionError):
            peer.sendall(data)
            if whole:
                peer.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := peer.recv(65_536):
                got += piece
        return got


def status_of_good_client(port: int) -> tuple[int, bytes]:
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as peer:
        peer.sendall(request_bytes(body=search_bytes("nothing"), headers=[(b"connection", b"close")]))
        got = b""
        while piece := peer.recv(65_536):
            got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


GOOD = [
    request_bytes(body=search_pb2.SearchRequest(collection="nothing", k=1).SerializeToString()),
    request_bytes(kind=b"application/json", body=b'{"collection": "nothing"}'),
    request_bytes(method=b"GET", target=b"/health", body=None),
    request_bytes(body=None, headers=[(b"transfer-encoding", b"chunked")]) + chunked(b"\x0a\x01", b"a"),
    request_bytes(target=b"/nowhere", body=b"abc"),
    request_bytes(headers=[(b"expect", b"100-continue")], body=b"abc"),
    request_bytes(version=b"1.0", body=b""),
]
BAD = [
    request_bytes(headers=[(b"content-length", b"1000000000000")], body=None),
    request_bytes(headers=[(b"content-length", b"5")], body=b"abc"),
    request_bytes(headers=[(b"x", b"y" * 100)] * 500),
    request_bytes(kind=b"application/json", body=b'{"collection": "\xff\xfe"}'),
    request_bytes(body=b"\xff" * 50),
    request_bytes(body=None, headers=[(b"transfer-encoding", b"chunked")]) + b"fffffffffffffffff\r\n",
    b"\x00" * 100,
]


@st.composite
def peers_bytes(draw: st.DrawFn) -> bytes:
    """Bytes of good and bad requests and others, changed and cut."""
    data = bytearray(
        b"".join(draw(st.lists(st.one_of(st.sampled_from(GOOD + BAD), st.binary(max_size=30)), min_size=1, max_size=4))) or b"x"
    )
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, max(0, len(data) - 1)))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(1, len(data)))] if draw(st.booleans()) else data)


@settings(deadline=None, max_examples=1_000 if LONG else 60, suppress_health_check=list(HealthCheck))
@given(data=peers_bytes())
def test_any_bytes_are_answered_or_the_connection_is_closed_and_good_clients_go_on(shared_cluster: RoleCluster, data: bytes) -> None:
    got = exchanged(shared_cluster.http_port, data)
    assert got == b"" or re.match(rb"HTTP/1\.1 (100|200|[45]\d\d) ", got)
    status, body = status_of_good_client(shared_cluster.http_port)
    assert (status, json.loads(body)["code"]) == (400, "invalid_argument")
    log = shared_cluster.router.log()
    assert "Traceback" not in log
    assert "handler_failed" not in log


@pytest.mark.parametrize("bad", BAD)
def test_a_refused_request_gets_a_status_also_while_the_peer_still_sends(shared_cluster: RoleCluster, bad: bytes) -> None:
    got = exchanged(shared_cluster.http_port, bad + b"z" * 1_000_000)
    assert re.match(rb"HTTP/1\.1 [45]\d\d ", got), got[:200]


def test_grpc_tells_where_http_is_and_the_same_router_answers_there(shared_cluster: RoleCluster) -> None:
    import grpc

    list_path = "/shoal.v1.Collections/List"
    with grpc.insecure_channel(shared_cluster.address) as channel:
        _, first = channel.unary_unary(list_path, None, None).with_call(b"", timeout=20)
    told = dict(first.initial_metadata())
    assert told["shoal-http"] == f"127.0.0.1:{shared_cluster.http_port}"
    for server, status in ((told["shoal-server"].encode(), b"200"), (b"other", b"421")):
        data = request_bytes(target=list_path.encode(), headers=[(b"shoal-server", server), (b"connection", b"close")])
        assert exchanged(shared_cluster.http_port, data, whole=False).startswith(b"HTTP/1.1 " + status)


def test_a_client_whose_port_another_one_had_is_told_where_http_is(shared_cluster: RoleCluster) -> None:
    """All these connections come to the router from one port, as those of a busy machine do at times."""
    line = ProxyThread(shared_cluster.port, source_port=free_port())
    try:
        for _ in range(3):
            with shoal.connect(line.endpoint, transport="http") as client:
                client.list_collections()
            line.cut()
            line.restore()
    finally:
        line.close()


def test_both_wires_give_the_same_answers_and_errors(shared_cluster: RoleCluster) -> None:
    with (
        shoal.connect(shared_cluster.address, transport="grpc") as one,
        shoal.connect(f"http://127.0.0.1:{shared_cluster.http_port}") as two,
    ):
        assert one.list_collections() == two.list_collections()
        told = []
        for client in (one, two):
            with pytest.raises(NotFound) as caught:
                client.search("nothing", [1.0, 2.0], k=1)
            told.append((caught.value.message, caught.value.details))
        assert told[0] == told[1]
