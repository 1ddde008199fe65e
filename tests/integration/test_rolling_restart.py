"""Test that workers that are stopped cleanly, one after the other, hand over what they lead: nothing is elected by the
coordinator, no call fails, nothing is lost. The processes are real.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.failover_scene import scene
from tests.support.cluster.role_cluster import RoleCluster, RoleProcess
from tests.support.figures import show

WORKERS = 3
TTL_S = 5
SHARDS = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleCluster]:
    with RoleCluster(tmp_path_factory.mktemp("rolling"), workers=WORKERS, lease_ttl_s=TTL_S) as cluster:
        yield cluster


def lines(process: RoleProcess, *words: str) -> int:
    """Return the number of lines in a process's log that have all these words."""
    return sum(all(word in line for word in words) for line in process.log().splitlines())


def elections(cluster: RoleCluster) -> int:
    return lines(cluster.coordinator, " step_done ", "step=ElectPrimary")


def test_a_rolling_restart_elects_nobody_and_fails_nobody(cluster: RoleCluster, request: pytest.FixtureRequest) -> None:
    with scene(cluster, "rolled", shards=SHARDS, replicas=WORKERS) as rolled:
        for number, worker in enumerate(cluster.workers):
            me, before, elected = cluster.worker_id(number), rolled.shards(), elections(cluster)
            led = [each for each in before if each.primary == me]
            done = lines(worker, " primary_handed_over ", "done=True")
            assert worker.stop() == 0
            assert lines(worker, " primary_handed_over ", "done=True") == done + len(led)
            rolled.await_progress()
            after = rolled.shards()
            assert elections(cluster) == elected, "no shard waited for the coordinator"
            assert me not in {each.primary for each in after}
            assert [each.term for each in after] == [each.term + (each in led) for each in before]
            worker.start()
            rolled.assert_healed()
        assert sum(lines(each, " primary_handed_over ", "done=True") for each in cluster.workers) >= SHARDS
        show(request, f"longest call during a rolling restart: {rolled.load.longest_call_s():.2f} s")


def test_a_killed_worker_is_what_the_coordinator_elects_for(cluster: RoleCluster) -> None:
    """Without this, the test above would pass if its way to count elections saw none."""
    with scene(cluster, "killed", shards=1, replicas=WORKERS) as killed:
        elected, former = elections(cluster), killed.primary()
        cluster.workers[former].kill()
        killed.await_new_primary(former)
        assert elections(cluster) > elected
        cluster.workers[former].start()
        killed.assert_healed()


def test_a_worker_that_has_nobody_to_hand_over_to_ends_at_once_and_cleanly(cluster: RoleCluster) -> None:
    with scene(cluster, "alone", shards=3, replicas=1) as alone:
        former = alone.primary()
        worker = cluster.workers[former]
        assert worker.stop() == 0
        assert lines(worker, " primaries_handed_over chosen=0 ") >= 1
        worker.start()
        alone.assert_healed()
