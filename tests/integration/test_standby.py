"""Test two coordinators: the leading one is harmed, the other takes over in time and finishes what was begun, and
searches and writes are not disturbed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import shoal
from tests.chaos.load import Load
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.scope import LOAD_PAUSES

TTL_S = 2
OTHER_LEADS_WITHIN_S = TTL_S + 2.0
UNNOTICED_S = float(TTL_S)
"""Longest time without an answer that counts as undisturbed, on a busy machine of two cores. A call that waits for the
new leader takes longer than this.
"""

SHARDS = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleCluster]:
    with RoleCluster(tmp_path_factory.mktemp("standby"), workers=2, coordinators=2, lease_ttl_s=TTL_S) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def load(cluster: RoleCluster) -> Iterator[Load]:
    with Load(cluster.addresses, writers=1, searchers=1, pauses=LOAD_PAUSES) as load:
        yield load


@contextmanager
def killed(cluster: RoleCluster, leader: int) -> Iterator[None]:
    cluster.coordinators[leader].kill()
    try:
        yield
    finally:
        cluster.coordinators[leader].start()


@contextmanager
def frozen(cluster: RoleCluster, leader: int) -> Iterator[None]:
    cluster.coordinators[leader].freeze()
    try:
        yield
    finally:
        cluster.coordinators[leader].thaw()


@contextmanager
def cut_off(cluster: RoleCluster, leader: int) -> Iterator[None]:
    cluster.lines[leader].cut()
    try:
        yield
    finally:
        cluster.lines[leader].restore()


@pytest.mark.parametrize("harm", [killed, frozen, cut_off], ids=lambda harm: harm.__name__)
def test_the_other_coordinator_takes_over_and_finishes_what_was_begun(
    cluster: RoleCluster, load: Load, harm: Callable[..., object]
) -> None:
    name, former = f"{harm.__name__}-new", f"{harm.__name__}-old"
    with shoal.connect(cluster.addresses, timeout=30) as client:
        wait_until(lambda: cluster.leader(client) is not None, "a coordinator leads")
        leader = cluster.leader(client)
        client.create_collection(former, dim=4, shards=SHARDS)
        load.reset()
        work = _Begun(cluster, name, former)
        with harm(cluster, leader):
            began = time.monotonic()
            wait_until(lambda: cluster.leader(client) == 1 - leader, "the other one leads")
            took_s = time.monotonic() - began
            work.finish()
            info = client.describe_collection(name)
            assert (info.state, info.points) == ("active", 0)
            client.upsert(name, range(100), [[n, 0, 0, 0] for n in range(100)])
            assert client.count(name) == 100
        _settled(cluster, client, former)
        gap_s = max(gauge.gap_s() for gauge in load.gauges)
    print(f"{harm.__name__}: the other led after {took_s:.2f} s; longest gap of searches and writes {gap_s:.2f} s")
    assert took_s < OTHER_LEADS_WITHIN_S
    assert gap_s < UNNOTICED_S
    assert [gauge.failures for gauge in load.gauges] == [{}, {}]
    assert load.wrong == []
    assert all(gauge.successes for gauge in load.gauges)


class _Begun:
    """Starts the creation of one collection and the removal of another, both of many shards. When it is made, both are
    under way.
    """

    def __init__(self, cluster: RoleCluster, new: str, old: str) -> None:
        self._errors: list[BaseException] = []
        jobs = (lambda client: client.create_collection(new, dim=4, shards=SHARDS), lambda client: client.drop_collection(old))
        self._threads = [threading.Thread(target=self._run, args=(cluster, job)) for job in jobs]
        with shoal.connect(cluster.addresses) as client:
            for thread in self._threads:
                thread.start()
            # The creation has begun when its name is taken. It is not done before every shard is made.
            wait_until(lambda: any(each.name == new for each in client.list_collections()), "the creation has begun")

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "what was begun is never finished"
        assert self._errors == []

    def _run(self, cluster: RoleCluster, job: Callable[[shoal.Client], object]) -> None:
        try:
            with shoal.connect(cluster.addresses, timeout=25) as client:
                job(client)
        except shoal.ShoalError as error:
            self._errors.append(error)


def _settled(cluster: RoleCluster, client: shoal.Client, former: str) -> None:
    """Check that the dropped collection is gone, and that the harmed coordinator is back as the standby."""
    wait_until(lambda: former not in {each.name for each in client.list_collections()}, "the dropped collection is gone")
    wait_until(lambda: all(shard.collection != former for shard in client.cluster().shards), "its shards are gone")
    cluster.wait_ready()
    assert all(role.running for role in cluster.coordinators)
