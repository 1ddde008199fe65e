"""Test keys in a cluster of real processes: made by one router and used at another, revoked, kept by the next leader,
and written nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import shoal
from shoal.core.api_keys import key_text
from shoal.runtime.key_file import write_key_file
from tests.support.cluster.role_cluster import RoleCluster, wait_until

ADMIN = key_text("0a" * 6, bytes(range(32)))


def refused(client: shoal.Client) -> bool:
    """Whether a client's key is not admitted."""
    try:
        client.list_collections()
    except shoal.Unauthenticated:
        return True
    return False


def command(cluster: RoleCluster, *words: str, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "shoal.cli.entry", "--address", cluster.address, *words],
        env={"SHOAL_API_KEY": key, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_keys_are_made_used_everywhere_revoked_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    write_key_file(str(file), ADMIN, "admin_key_file")
    asked = {"keys": True, "admin_key_file": file}
    cluster = RoleCluster(tmp_path / "cluster", workers=1, coordinators=2, routers=2, lease_ttl_s=2, router_settings=asked)
    cluster.access["api_key"] = ADMIN
    with cluster, cluster.connect(timeout=30) as admin:
        made = admin.keys.create("app", "docs-*:read,write,manage", expires=3_600, asked_by="me")
        other = admin.keys.create("other", "logs:read")
        with shoal.connect(cluster.addresses[0], api_key=made.text, timeout=30) as here:
            here.create_collection("docs-1", dim=2)
            here.upsert("docs-1", [1, 2], [[0, 0], [1, 1]])
            admin.create_collection("logs", dim=2)
            assert [each.name for each in here.list_collections()] == ["docs-1"]
            with pytest.raises(shoal.PermissionDenied):
                here.search("logs", [0, 0])
            with pytest.raises(shoal.PermissionDenied):
                here.keys.list()
        there = shoal.connect(cluster.addresses[1], api_key=made.text, timeout=30)
        wait_until(lambda: not refused(there), "the other router knows the key")
        assert [hit.id for hit in there.search("docs-1", [0, 0], k=1)] == [1]

        ended = command(cluster, "key", "revoke", other.key.id, key=ADMIN)
        assert ended.returncode == 0, ended.stderr
        with shoal.connect(cluster.addresses[1], api_key=other.text, timeout=30) as gone:
            wait_until(lambda: refused(gone), "the other router refuses the revoked key")

        led = cluster.leader(admin)
        assert led is not None
        cluster.coordinators[led].kill()
        assert there.count("docs-1") == 2
        assert admin.keys.list() == [made.key]
        assert refused(shoal.connect(cluster.address, api_key=other.text, timeout=30))
        newer = admin.keys.create("later", "docs-*:read")
        with shoal.connect(cluster.address, api_key=newer.text, timeout=30) as late:
            assert late.count("docs-1") == 2
        actions = [(entry.action, entry.subject) for entry in admin.audit(10)]
        expected = [("create-key", newer.key.id), ("revoke-key", other.key.id), ("create-key", other.key.id), ("create-key", made.key.id)]
        assert actions == expected
        there.close()
        cluster.coordinators[led].start()
    logs = b"".join(path.read_bytes() for path in cluster.folder.rglob("*") if path.is_file())
    for text in (made.text, other.text, newer.text, ADMIN):
        assert text.encode() not in logs
        assert text.rsplit("_", 1)[1].encode() not in logs
    assert b'"method": "/shoal.v1.Access/CreateKey"' in logs
