"""Test that the roles and etcd may start in any order."""

from __future__ import annotations

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until


def test_every_role_first_and_etcd_last(tmp_path):
    cluster = RoleCluster(tmp_path / "cluster", workers=1, lease_ttl_s=2)
    try:
        for role in (*cluster.routers, *cluster.workers, *cluster.coordinators):
            role.start()
        for role in cluster.roles:
            wait_until(lambda role=role: "store_does_not_answer" in role.log(), "it says that it waits for etcd")
        assert all(role.running for role in cluster.roles)
        cluster.etcd.start()
        cluster.wait_ready()
        with shoal.connect(cluster.addresses, timeout=20) as client:
            client.create_collection("late", dim=2, shards=4)
            client.upsert("late", range(10), [[n, n] for n in range(10)])
            assert client.search("late", [3, 3], k=1)[0].id == 3
    finally:
        cluster.stop()
    assert all("Traceback" not in role.log() for role in cluster.roles)
