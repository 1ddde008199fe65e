"""Test the three roles as plain processes over an etcd with TLS and a user: what they measure, and what they say when
etcd refuses them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleProcess, wait_until
from tests.support.etcd.secure import PASSWORD, USER, SecureEtcd
from tests.support.network.certificates import Authority
from tests.support.network.ports import free_port

TTL_S = 3


class SecureCluster:
    """Runs one role of each kind. access: the settings with which etcd lets them in."""

    def __init__(self, folder: Path) -> None:
        self.etcd = SecureEtcd(folder / "etcd")
        (folder / "password").write_text(PASSWORD + "\n")
        self.access: dict[str, object] = {
            "etcd": self.etcd.endpoint,
            "etcd_ca": self.etcd.authority.ca,
            "etcd_cert": self.etcd.client.certificate,
            "etcd_key": self.etcd.client.key,
            "etcd_user": USER,
            "etcd_password_file": folder / "password",
        }
        shared = {**self.access, "metrics_port": -1, "reflection": True}
        self.port = free_port()
        self.coordinator = RoleProcess("coordinator", folder / "coordinator.log", lease_ttl_s=TTL_S, **shared)
        self.worker = RoleProcess("shard_worker", folder / "worker.log", data=folder / "worker", lease_ttl_s=TTL_S, **shared)
        self.router = RoleProcess("router", folder / "router.log", port=self.port, **shared)
        self.roles = (self.coordinator, self.worker, self.router)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.etcd.start()
        self.etcd.enable_users()
        for role in self.roles:
            role.start()
        with shoal.connect(self.address, timeout=5) as client:
            wait_until(lambda: self._ready(client), "the cluster is ready")

    def stop(self) -> None:
        for role in reversed(self.roles):
            if role.running:
                assert role.stop() == 0
        self.etcd.stop()

    def metrics_of(self, role: RoleProcess) -> dict[str, float]:
        """Return the samples of the metrics page, by name and labels."""
        (address,) = re.findall(r"metrics_listening address=(\S+)", role.log())
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def _ready(self, client: shoal.Client) -> bool:
        for role in self.roles:
            assert role.running, f"a role ended:\n{role.log()[-3000:]}"
        try:
            info = client.cluster()
        except shoal.ShoalError:
            return False
        return info.leader is not None and [worker.state for worker in info.workers] == ["up"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCluster]:
    cluster = SecureCluster(tmp_path_factory.mktemp("secure"))
    try:
        cluster.start()
        with shoal.connect(cluster.address) as client:
            client.create_collection("things", dim=8, shards=2)
            client.upsert("things", range(100), np.eye(100, 8))
            assert client.count("things") == 100
            with pytest.raises(shoal.NotFound):
                client.count("nothing")
        yield cluster
    finally:
        cluster.stop()


def test_leases_are_kept_and_tokens_renewed_when_etcd_has_forgotten_them(cluster: SecureCluster) -> None:
    cluster.etcd.stop()
    cluster.etcd.start()
    with shoal.connect(cluster.address, timeout=30) as client:
        client.create_collection("later", dim=4)
        client.upsert("later", [1], [[1.0, 0, 0, 0]])
        wait_until(lambda: all(shard.state == "ok" for shard in client.cluster().shards), "every shard has a primary")
        assert client.count("things") == 100
    assert "Traceback" not in "".join(role.log() for role in cluster.roles)


def test_starting_is_no_reason_for_warnings(cluster: SecureCluster) -> None:
    started = [role.log().split("started", 1)[0].split("serving", 1)[0] for role in cluster.roles]
    assert not [line for log in started for line in log.splitlines() if "store_does_not_answer" in line]


def test_who_has_the_wrong_password_ends_with_one_line(cluster: SecureCluster, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    settings = {**cluster.access, "etcd_password_file": tmp_path / "wrong"}
    roles = [
        RoleProcess("coordinator", tmp_path / "coordinator.log", **settings),
        RoleProcess("shard_worker", tmp_path / "worker.log", data=tmp_path / "data", **settings),
        RoleProcess("router", tmp_path / "router.log", port=0, **settings),
    ]
    for role in roles:
        role.start()
    for role in roles:
        assert role.wait() == 1
        (line,) = (line for line in role.log().splitlines() if line.startswith("error:"))
        assert "refused user 'shoal': wrong name or password; correct etcd_user and etcd_password_file" in line


def test_shoal_up_says_why_an_etcd_does_not_let_it_in(cluster: SecureCluster, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    stranger = Authority(tmp_path, "stranger")
    for values, said in (
        ({"etcd_password_file": tmp_path / "wrong"}, "refused user 'shoal': wrong name or password"),
        ({"etcd_ca": stranger.ca}, "check etcd_ca, etcd_cert and etcd_key"),
        ({"etcd_password_file": tmp_path / "missing"}, f"etcd_password_file {tmp_path / 'missing'} cannot be read: No such file"),
    ):
        file = tmp_path / "up.toml"
        settings = {**cluster.access, **values, "etcd": [cluster.etcd.endpoint]}
        file.write_text("".join(f"{name} = {json.dumps(value, default=str)}\n" for name, value in settings.items()))
        command = [sys.executable, "-P", "-m", "shoal.deploy.local.up", f"--data={tmp_path / 'data'}", f"--config={file}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error:"))
        assert said in line


def test_what_is_measured(cluster: SecureCluster) -> None:
    worker = cluster.metrics_of(cluster.worker)
    points = [value for name, value in worker.items() if name.startswith('shoal_points{collection="things"')]
    assert (len(points), sum(points)) == (2, 100)
    growing = [value for name, value in worker.items() if name.startswith('shoal_growing_rows{collection="things"')]
    assert sum(growing) == 100
    assert worker["shoal_log_flush_seconds_count"] >= 2
    assert worker['shoal_requests_total{code="OK",method="shoal.v1.Worker/Write"}'] >= 2
    assert worker['shoal_http_connections{role="worker"}'] >= 1
    assert worker['shoal_lease_age_seconds{role="worker"}'] < TTL_S
    assert 0 < worker["shoal_disk_used_ratio"] < 1
    assert (worker["shoal_shards_failed"], worker["shoal_builds_running"]) == (0, 0)
    assert min(value for name, value in worker.items() if name.startswith(("shoal_disk_bytes", "shoal_memory_bytes"))) > 0

    router = cluster.metrics_of(cluster.router)
    assert router['shoal_requests_total{code="OK",method="shoal.v1.Points/Upsert"}'] >= 1
    assert router['shoal_requests_total{code="NOT_FOUND",method="shoal.v1.Points/Count"}'] == 1
    assert router['shoal_request_seconds_count{method="shoal.v1.Points/Upsert"}'] >= 1
    assert router['shoal_shard_calls_total{outcome="ok"}'] >= 4
    assert router['shoal_store_connected{role="router"}'] == 1

    coordinator = cluster.metrics_of(cluster.coordinator)
    assert coordinator["shoal_leading"] == 1
    assert coordinator['shoal_steps_total{outcome="done",step="CreateShard"}'] >= 2
    assert coordinator['shoal_lease_age_seconds{role="coordinator"}'] < TTL_S
    assert coordinator["process_resident_memory_bytes"] > 0


def test_probes_of_every_role_are_told_how_it_stands(cluster: SecureCluster) -> None:
    for role in cluster.roles:
        (address,) = re.findall(r"metrics_listening address=(\S+)", role.log())
        for path, said in (("live", b"live\n"), ("ready", b"ready\n"), ("started", b"started\n")):
            with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
                assert answer.read() == said
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}/", timeout=10)
        assert refused.value.code == 404


def test_a_metrics_port_in_use_ends_a_role_with_one_line(cluster: SecureCluster, tmp_path: Path) -> None:
    role = RoleProcess("router", tmp_path / "router.log", port=0, metrics_port=cluster.port, **cluster.access)
    role.start()
    assert role.wait() == 1
    (line,) = (line for line in role.log().splitlines() if line.startswith("error:"))
    assert f"metrics cannot listen on 127.0.0.1:{cluster.port}" in line
    assert "choose another metrics_port" in line


def test_reflection_names_the_public_services(cluster: SecureCluster) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    with grpc.insecure_channel(cluster.address) as channel:
        names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"shoal.v1.Search", "shoal.v1.Points", "shoal.v1.Collections", "shoal.v1.Cluster", "grpc.health.v1.Health"} <= names
