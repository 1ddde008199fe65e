"""Test the port for monitoring: four paths, and nothing that a peer does holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import socket
from collections.abc import Iterator

import pytest

from shoal.runtime.metrics import MetricSpec
from shoal.runtime.metrics_port import MOST_AT_ONCE, MetricsPort, probes, text_answer
from shoal.runtime.prometheus import PrometheusMetrics
from shoal.runtime.standing import RoleStandings

COUNT = MetricSpec(name="test_count_total", kind="counter", text="how many")


@pytest.fixture(scope="module")
def metrics() -> Iterator[PrometheusMetrics]:
    metrics = PrometheusMetrics("127.0.0.1", 0)
    metrics.measure(COUNT)(3)
    metrics.start()
    yield metrics
    metrics.stop()


def asked(metrics: PrometheusMetrics, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body."""
    with contextlib.closing(http.client.HTTPConnection(metrics.address, timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_the_metrics_are_told_in_the_format_that_is_accepted(metrics: PrometheusMetrics) -> None:
    status, headers, body = asked(metrics, "/metrics")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert b"test_count_total 3.0" in body.splitlines()
    assert headers["server"].strip() == "shoal"
    accepted = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    status, headers, body = asked(metrics, "/metrics?x=1", **accepted)
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_probes_are_told_how_the_process_stands() -> None:
    metrics = PrometheusMetrics("127.0.0.1", 0)
    metrics.start()

    async def scenario() -> None:
        async def told(path: str) -> tuple[int, bytes]:
            status, _, body = await asyncio.to_thread(asked, metrics, path)
            return status, body

        assert await told("/live") == (200, b"live\n")
        assert await told("/started") == await told("/ready") == (503, b"no role runs yet\n")
        metrics.standing.tell("router", True)
        assert (await told("/live"), await told("/ready"), await told("/started")) == (
            (200, b"live\n"),
            (200, b"ready\n"),
            (200, b"started\n"),
        )
        metrics.standing.tell("router", False)
        assert await told("/ready") == (503, b"does not serve: router\n")

    asyncio.run(scenario())
    metrics.stop()


@pytest.mark.parametrize("path", ["/", "/metrics/", "/METRICS", "/favicon.ico", "/debug/pprof", "/live/x", "*", "http://h/metrics"])
def test_there_is_nothing_at_other_paths(metrics: PrometheusMetrics, path: str) -> None:
    status, _, body = asked(metrics, path)
    assert (status, body) == (404, b"there is nothing here but /live, /metrics, /ready, /started\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH"])
def test_nothing_but_get_is_answered(metrics: PrometheusMetrics, method: str) -> None:
    status, headers, body = asked(metrics, "/metrics", method)
    assert status == 501
    assert b"test_count" not in body
    assert "Python" not in headers["server"]


def test_peers_that_send_nothing_take_no_more_than_their_room_and_the_rest_is_answered_after_them() -> None:
    port = MetricsPort("127.0.0.1", 0, {"/here": lambda headers: text_answer(200, "here"), **probes(RoleStandings())})
    try:
        silent = [socket.create_connection(("127.0.0.1", port.port), timeout=30) for _ in range(MOST_AT_ONCE)]
        with socket.create_connection(("127.0.0.1", port.port), timeout=30) as one_more:
            assert one_more.recv(1) == b""
        for peer in silent:
            peer.sendall(b"GET /here HTTP/1.0\r\n\r\n")
            assert b"here\n" in b"".join(iter(lambda peer=peer: peer.recv(4096), b""))  # type: ignore[misc]
            peer.close()
    finally:
        port.close()


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b"\x00\xff" * 100, b"GET /live\r\n", b"GET /live HTTP/9.9\r\n\r\n", b"GET " + b"/" * 70_000]
)
def test_bytes_of_any_kind_do_no_harm(metrics: PrometheusMetrics, data: bytes) -> None:
    host, _, port = metrics.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as peer, contextlib.suppress(ConnectionError):
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(4096):
            pass
    assert asked(metrics, "/live")[0] == 200


def test_peers_that_send_byte_after_byte_make_room_for_a_probe() -> None:
    port = MetricsPort("127.0.0.1", 0, {"/here": lambda headers: text_answer(200, "here")}, patience_s=0.0)
    try:
        slow = [socket.create_connection(("127.0.0.1", port.port), timeout=30) for _ in range(MOST_AT_ONCE)]
        for peer in slow:
            peer.sendall(b"GET /he")
        with socket.create_connection(("127.0.0.1", port.port), timeout=30) as probe:
            probe.sendall(b"GET /here HTTP/1.0\r\n\r\n")
            assert b"here\n" in b"".join(iter(lambda: probe.recv(4096), b""))
        for peer in slow:
            with contextlib.suppress(ConnectionError):
                assert peer.recv(1) == b""
            peer.close()
    finally:
        port.close()


def test_a_page_that_fails_is_logged_and_the_next_one_answered(caplog: pytest.LogCaptureFixture) -> None:
    def fails(headers: object) -> object:
        raise ValueError("broken")

    port = MetricsPort("127.0.0.1", 0, {"/fails": fails, "/here": lambda headers: text_answer(200, "here")})  # type: ignore[dict-item]
    try:
        for path, said in ((b"/fails", b""), (b"/here", b"here\n")):
            with socket.create_connection(("127.0.0.1", port.port), timeout=30) as peer:
                peer.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
                assert b"".join(iter(lambda peer=peer: peer.recv(4096), b"")).endswith(said)  # type: ignore[misc]
    finally:
        port.close()
    assert "metrics_port_failed" in caplog.text


def test_it_listens_on_an_address_of_the_newer_protocol_too() -> None:
    port = MetricsPort("::1", 0, {"/here": lambda headers: text_answer(200, "here")})
    try:
        with socket.create_connection(("::1", port.port), timeout=30) as peer:
            peer.sendall(b"GET /here HTTP/1.0\r\n\r\n")
            assert b"here\n" in b"".join(iter(lambda: peer.recv(4096), b""))
    finally:
        port.close()
