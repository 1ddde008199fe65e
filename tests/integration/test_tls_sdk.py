"""Clients of a cluster of real processes with the certificates of `shoal cert init`: every transport, each wrong input,
the command line, and the commands of docs/security.md, which replace certificates and the CA under load.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.cli.certificate_folder import make_folder
from shoal.core.errors import TlsMismatch
from shoal.wire.tls import TlsFiles
from tests.integration.test_tls_cluster import Work, served_serial, told, wait_for_more
from tests.support.cluster.role_cluster import RoleCluster, tls_settings, wait_until
from tests.support.repository import ROOT

DIM = 8
CALL_S = 30.0
AT_ONCE_S = 20.0
VECTORS = np.random.default_rng(1).standard_normal((50, DIM), dtype=np.float32)
WIRES = ("grpc", "http", "auto", "https address")


@dataclass(frozen=True)
class MadeFolder:
    """A folder that `shoal cert init` has made."""

    path: Path

    def files(self, name: str) -> TlsFiles:
        return TlsFiles(ca=str(self.path / "ca.pem"), cert=str(self.path / f"{name}.pem"), key=str(self.path / f"{name}.key"))

    def internal(self) -> TlsFiles:
        return self.files("internal")

    def router(self) -> TlsFiles:
        return self.files("router")

    def client(self) -> TlsFiles:
        return self.files("client")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeFolder:
    folder = tmp_path_factory.mktemp("tls-sdk") / "certs"
    make_folder(folder, ["search.example.com"], datetime.now(UTC))
    return MadeFolder(folder)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> MadeFolder:
    folder = tmp_path_factory.mktemp("other") / "certs"
    make_folder(folder, [], datetime.now(UTC))
    return MadeFolder(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, made: MadeFolder) -> Iterator[RoleCluster]:
    settings = {"tls_client_required": True}
    with RoleCluster(tmp_path_factory.mktemp("cluster"), workers=1, authority=made, router_settings=settings) as cluster:
        with cluster.connect(timeout=CALL_S) as client:
            client.create_collection("things", dim=DIM)
            client.upsert("things", range(len(VECTORS)), VECTORS)
        yield cluster


def at(cluster: RoleCluster, wire: str, *, scheme: str = "https") -> dict[str, Any]:
    """Return the address and the transport of a wire, as `connect` takes them."""
    if wire == "https address":
        return {"address": f"{scheme}://127.0.0.1:{cluster.http_port}"}
    return {"address": cluster.address, "transport": wire}


@pytest.mark.parametrize("wire", WIRES)
def test_every_transport_works_with_the_right_files(cluster: RoleCluster, wire: str) -> None:
    with shoal.connect(**at(cluster, wire), **cluster.access, timeout=CALL_S) as client:
        for _ in range(2):
            assert client.search("things", VECTORS[3], k=1)[0].id == 3

    async def ask() -> None:
        async with shoal.connect_async(**at(cluster, wire), **cluster.access, timeout=CALL_S) as client:
            for _ in range(2):
                assert (await client.search("things", VECTORS[4], k=1))[0].id == 4

    asyncio.run(ask())


WRONG = {
    "another CA": "its certificate was not signed by the CA in tls_ca",
    "no certificate": "it asks for a certificate; give tls_cert and tls_key",
    "a certificate of another CA": "it does not accept the certificate in tls_cert",
    "no TLS": "it speaks TLS; give tls_ca",
    "a plain port": "it does not speak TLS; leave out tls_ca",
}


@pytest.mark.parametrize("wire", ["grpc", "https address"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_at_once(cluster: RoleCluster, other: MadeFolder, wrong: str, wire: str) -> None:
    ours, theirs = cluster.access, tls_settings(other.client())
    files = {
        "another CA": {**ours, "tls_ca": theirs["tls_ca"]},
        "no certificate": {"tls_ca": ours["tls_ca"]},
        "a certificate of another CA": {**theirs, "tls_ca": ours["tls_ca"]},
        "no TLS": {},
        "a plain port": ours,
    }[wrong]
    where = at(cluster, wire, scheme="http" if wrong == "no TLS" else "https")
    if wrong == "a plain port":
        plain = cluster.etcd.endpoint
        where = {"address": f"https://{plain}"} if wire == "https address" else {"address": plain, "transport": wire}
    began = time.monotonic()
    with shoal.connect(**where, **files) as client, pytest.raises(TlsMismatch, match=re.escape(WRONG[wrong])) as caught:
        client.count("things", timeout=120.0)
    assert time.monotonic() - began < AT_ONCE_S
    assert "\n" not in caught.value.message


def ran(folder: Path, commands: str, **environment: str) -> str:
    """Run commands as a shell does, up to the first that fails, and return what they print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {**os.environ, "PATH": path, "COLUMNS": "200", **environment}
    command = ["bash", "-eu", "-o", "pipefail", "-c", commands]
    ended = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended
    return ended.stdout


def test_the_command_line_takes_the_files_and_status_tells_when_the_certificate_expires(cluster: RoleCluster, made: MadeFolder) -> None:
    options = "--tls-ca certs/ca.pem --tls-cert certs/client.pem --tls-key certs/client.key"
    status = json.loads(ran(made.path.parent, f"shoal --address {cluster.address} {options} status --json"))
    shown = json.loads(ran(made.path.parent, "shoal cert show certs/router.pem --json"))["certificates"][0]
    assert datetime.fromtimestamp(status["certificate_not_after"], UTC) == datetime.fromisoformat(shown["not_after"])
    assert (status["insecure"], status["problems"]) == (False, [])
    variables = {f"SHOAL_TLS_{name[4:].upper()}": path for name, path in cluster.access.items()}
    assert ran(made.path.parent, "shoal count things", SHOAL_ADDRESS=cluster.address, **variables).split()[-1] == str(len(VECTORS))


def commands() -> list[str]:
    """Return the commands of the section "Rotation" of the page, block by block."""
    section = (ROOT / "docs/security.md").read_text(encoding="utf-8").partition("\n## Rotation")[2].partition("\n## ")[0]
    return re.findall(r"^```shell\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


class AsyncWork(Work):
    """The same with the calls of an asyncio client."""

    def __init__(self, where: dict[str, Any]) -> None:
        super().__init__(lambda _: None)
        self._where = where

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with shoal.connect_async(**self._where, timeout=CALL_S) as client:
            while not self._ended.is_set():
                try:
                    await client.search("things", VECTORS[self.calls % len(VECTORS)], k=1)
                    self.calls += 1
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}")


@pytest.mark.timeout(150)
def test_the_commands_of_the_page_replace_certificates_and_the_ca_under_load_and_no_call_fails(
    cluster: RoleCluster, made: MadeFolder, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="shoal.wire")
    clients = [shoal.connect(**at(cluster, wire), **cluster.access, timeout=CALL_S) for wire in ("grpc", "https address")]
    work = [
        Work(lambda call: clients[0].upsert("things", [call % 50], VECTORS[call % 50][None])),
        Work(lambda call: clients[1].search("things", VECTORS[call % 50], k=1)),
        *(AsyncWork({**at(cluster, wire), **cluster.access}) for wire in ("grpc", "auto")),
    ]
    cert, key = (str(shutil.copy(made.path / name, tmp_path)) for name in ("client.pem", "client.key"))
    old = TlsFiles(ca=str(made.path / "ca.pem"), cert=cert, key=key)
    roles = (cluster.router, cluster.coordinator, *cluster.workers)
    ports = [told(role, "listening") for role in roles] + [told(role, "listening_http") for role in (cluster.router, *cluster.workers)]
    for each in work:
        each.start()
    try:
        blocks = commands()
        assert [block.splitlines()[0].split()[0] for block in blocks] == ["shoal", "shoal", "for", "cp"]
        for version, block in enumerate(blocks, start=2):
            ran(made.path.parent, block)
            wait_until(lambda version=version: have_read(roles, ports, made, version), f"each role has read version {version}")
            wait_until(lambda version=version: client_reads(caplog, version) == len(work), f"each client has read version {version}")
            wait_for_more(work)
    finally:
        for each in work:
            each.end()
        for client in clients:
            client.close()
    assert [failure for each in work for failure in each.failures] == []
    with shoal.connect(cluster.address, transport="grpc", **cluster.access) as client:
        assert client.count("things") == len(VECTORS)
    with (
        shoal.connect(cluster.address, transport="grpc", **tls_settings(old)) as client,
        pytest.raises(TlsMismatch, match="does not accept"),
    ):
        client.count("things")


def have_read(roles: tuple[Any, ...], ports: list[str], made: MadeFolder, version: int) -> bool:
    """Let each port look at its files, by a handshake, and return whether each role has read this version of them."""
    with suppress(OSError):
        for port in ports:
            served_serial(port, made.internal())
    return all(f"tls_files_read version={version} " in role.log() for role in roles)


def client_reads(caplog: pytest.LogCaptureFixture, version: int) -> int:
    return sum(f"tls_files_read version={version} " in record.getMessage() for record in caplog.records)
