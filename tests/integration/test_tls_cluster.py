"""A cluster of real processes with TLS on every port: it does its work, answers no stranger, and certificates are
replaced while it works.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2

import shoal
from shoal.core.addresses import split
from shoal.v1 import coordinator_pb2, replication_pb2, worker_pb2
from shoal.wire.tls import INTERNAL_NAME, Tls, TlsFiles
from tests.support.cluster.role_cluster import RoleCluster, RoleProcess, wait_until
from tests.support.network.certificates import Authority, serial_of

DIM = 8
ROWS = 200
CALL_S = 30.0
REFUSED_S = 5.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RoleCluster]:
    folder = tmp_path_factory.mktemp("tls")
    settings = {"reflection": True, "metrics_port": -1}
    with RoleCluster(folder, workers=3, lease_ttl_s=3, authority=authority, coordinator_settings=settings, **settings) as cluster:
        yield cluster


def vectors(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, DIM), dtype=np.float32)


def told(role: RoleProcess, event: str) -> str:
    """Return the address in the last line of a role's log that has this event."""
    return re.findall(rf" {event} address=(\S+)", role.log())[-1]


@pytest.mark.timeout(120)
def test_a_cluster_does_its_work_over_tls_and_survives_a_killed_worker(cluster: RoleCluster) -> None:
    made = vectors(1)
    with cluster.connect(timeout=CALL_S, transport="grpc") as over_grpc, cluster.connect(timeout=CALL_S, transport="http") as over_http:
        over_grpc.create_collection("things", dim=DIM, shards=2, replicas=2)
        over_http.upsert("things", range(ROWS), made)
        for client in (over_grpc, over_http):
            assert client.count("things") == ROWS
            assert [hits[0].id for hits in client.search_many("things", made[:5], k=1)] == [0, 1, 2, 3, 4]
        cluster.wait_whole(over_grpc)
        primary = cluster.worker_of_id(next(each.primary for each in over_grpc.cluster().shards if each.collection == "things"))
        cluster.workers[primary].kill()
        over_http.upsert("things", range(ROWS, 2 * ROWS), vectors(2))
        assert over_grpc.count("things") == 2 * ROWS
        cluster.workers[primary].start()
        cluster.wait_whole(over_grpc)
        assert over_http.search("things", made[7], k=1)[0].id == 7


def methods() -> list[MethodDescriptor]:
    """Return every RPC of the internal services, and of health."""
    modules = (worker_pb2, replication_pb2, coordinator_pb2, health_pb2)
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods]


def strangers(authority: Authority, folder: Path) -> dict[str, TlsFiles | None]:
    """Return what callers show that no internal port may answer. None: they do not speak TLS."""
    other = Authority(folder, "other").internal()
    return {
        "without TLS": None,
        "without a certificate": TlsFiles(ca=str(authority.ca)),
        "with a client's certificate": authority.client("stranger"),
        "with a certificate of another CA": TlsFiles(ca=str(authority.ca), cert=other.cert, key=other.key),
    }


def grpc_answers(address: str, files: TlsFiles | None) -> list[str]:
    """Return the calls that the server at an address answers: all but those that it refuses."""
    if files is None:
        channel = grpc.insecure_channel(address)
    else:
        options = [("grpc.ssl_target_name_override", INTERNAL_NAME)]
        channel = grpc.secure_channel(address, Tls(files).current().channel_credentials(), options)
    answered = []
    with channel:
        for path, form in _forms():
            try:
                answer = getattr(channel, form)(path, None, None)(iter((b"",)) if form.startswith("stream") else b"", timeout=REFUSED_S)
                if form.endswith("stream"):
                    next(answer)
                    answer.cancel()
                answered.append(path)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED):
                    answered.append(f"{path}: {error.code()}")
    return answered


def _forms() -> Iterator[tuple[str, str]]:
    """Yield the path of each method, and the form of its calls."""
    words = {False: "unary", True: "stream"}
    for method in methods():
        yield f"/{method.containing_service.full_name}/{method.name}", f"{words[method.client_streaming]}_{words[method.server_streaming]}"
    yield "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "stream_stream"


def http_answers(address: str, files: TlsFiles | None) -> list[str]:
    """Return the paths that the HTTP server at an address answers."""
    answered = []
    for path in ("/health", "/metrics", *(path for path, _ in _forms())):
        with suppress(OSError, http.client.HTTPException), closing(_connected(address, files)) as connection:
            connection.request("POST" if path.startswith("/shoal") else "GET", path, b"", {"content-type": "application/proto"})
            answered.append(f"{path}: {connection.getresponse().status}")
    return answered


def told_by_metrics(address: str, files: TlsFiles | None) -> list[str]:
    """Return the paths at which a metrics port tells something. It refuses by a status, since probes may call."""
    return [each for each in http_answers(address, files) if not each.endswith((": 403", ": 404", ": 501"))]


def _connected(address: str, files: TlsFiles | None) -> http.client.HTTPConnection:
    host, port = split(address)
    connection = http.client.HTTPConnection(host, port, timeout=REFUSED_S)
    connection.connect()
    if files is not None:
        connection.sock = Tls(files).current().client_context().wrap_socket(connection.sock, server_hostname=INTERNAL_NAME)
    return connection


@pytest.mark.timeout(120)
def test_no_internal_port_answers_a_stranger(cluster: RoleCluster, authority: Authority, tmp_path: Path) -> None:
    ports = {
        "worker": (told(cluster.workers[0], "listening"), grpc_answers),
        "coordinator": (told(cluster.coordinator, "listening"), grpc_answers),
        "worker, HTTP": (told(cluster.workers[0], "listening_http"), http_answers),
    }
    metrics = {
        "worker, metrics": told(cluster.workers[0], "metrics_listening"),
        "coordinator, metrics": told(cluster.coordinator, "metrics_listening"),
    }
    answers: dict[str, list[str]] = {}
    for who, files in strangers(authority, tmp_path).items():
        for port, (address, ask) in ports.items():
            answers[f"{port} {who}"] = ask(address, files)
        if "client" not in who:
            answers |= {f"{port} {who}": told_by_metrics(address, files) for port, address in metrics.items()}
    assert len(methods()) > 30
    assert {name: said for name, said in answers.items() if said} == {}
    # What answers a caller with the internal name is no wall that refuses everybody.
    friend = authority.internal("friend")
    assert all(ask(address, friend) for address, ask in ports.values())
    assert all(told_by_metrics(address, friend) for address in metrics.values())


def test_a_router_answers_clients_without_a_certificate_and_none_without_tls(cluster: RoleCluster, authority: Authority) -> None:
    for transport in ("grpc", "http"):
        with shoal.connect(cluster.address, tls_ca=str(authority.ca), transport=transport, timeout=CALL_S) as client:
            assert client.cluster().leader is not None
        with shoal.connect(cluster.address, transport=transport, timeout=2.0) as client, pytest.raises(shoal.Unavailable):
            client.cluster()


class Work(threading.Thread):
    """Calls again and again, until it is ended. failures: what calls raised; calls: how many ended well."""

    def __init__(self, call: Callable[[int], object]) -> None:
        super().__init__(daemon=True)
        self._call, self._ended = call, threading.Event()
        self.failures: list[str] = []
        self.calls = 0

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._call(self.calls)
                self.calls += 1
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def end(self) -> None:
        self._ended.set()
        self.join(CALL_S)


def served_serial(address: str, caller: TlsFiles) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    context = Tls(caller).current().client_context()
    with (
        socket.create_connection(split(address), timeout=CALL_S) as plain,
        context.wrap_socket(plain, server_hostname=INTERNAL_NAME) as secure,
    ):
        shown = secure.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)


def replace_all(authority: Authority, ports: dict[str, list[str]], caller: TlsFiles) -> None:
    """Replace the certificates of all roles and of the client, and wait until every port serves the new ones."""
    new = {"router": authority.router(), "internal": authority.internal()}
    authority.client()
    serials = {name: serial_of(Path(files.cert)) for name, files in new.items()}
    wanted = {address: serials[name] for name, addresses in ports.items() for address in addresses}
    wait_until(lambda: {address: served_serial(address, caller) for address in wanted} == wanted, "every port serves its new certificate")


def wait_for_more(work: list[Work]) -> None:
    before = [each.calls for each in work]
    wait_until(lambda: all(each.calls > past + 20 for each, past in zip(work, before, strict=True)), "calls go on")


@pytest.mark.timeout(120)
def test_certificates_are_replaced_while_writes_and_searches_run_and_no_call_fails(cluster: RoleCluster, authority: Authority) -> None:
    caller, made = authority.internal("caller"), vectors(3)
    ports = {
        "router": [cluster.address, f"127.0.0.1:{cluster.http_port}"],
        "internal": [told(role, "listening") for role in (*cluster.workers, cluster.coordinator)]
        + [told(worker, "listening_http") for worker in cluster.workers],
    }
    with cluster.connect(timeout=CALL_S, transport="grpc") as over_grpc, cluster.connect(timeout=CALL_S, transport="http") as over_http:
        over_grpc.create_collection("busy", dim=DIM, shards=2, replicas=2)
        over_grpc.upsert("busy", range(ROWS), made)
        work = [
            Work(lambda call: over_http.upsert("busy", [call % ROWS], made[call % ROWS][None])),
            Work(lambda call: over_grpc.search("busy", made[call % ROWS], k=3)),
            Work(lambda call: over_http.search("busy", made[call % ROWS], k=3)),
            Work(lambda call: over_grpc.count("busy")),
        ]
        for each in work:
            each.start()
        for _ in range(2):
            replace_all(authority, ports, caller)
            wait_for_more(work)
        for each in work:
            each.end()
    assert [failure for each in work for failure in each.failures] == []
    assert all("tls_files_read version=3" in role.log() for role in cluster.roles)
