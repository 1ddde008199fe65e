"""Workers that are drained, forgotten and killed while replicas move, on four workers in three zones.

After every test, and a plan: as many replicas as wanted, in as many zones as before, no folder that no configuration
names. The plan is for replicas that left a zone because its only worker was drained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import shoal
from shoal.core.operations import RebalanceProgress
from shoal.core.rebalance import PlannedMove
from tests.integration.moves_scene import MovesScene, assert_finds_all, one_line, zones_of
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.scope import cells

ZONES = ("east", "east", "west", "south")
TTL_S = 2
SLOW, FAST = 1 << 20, 1 << 30
"""Bytes a second. The large shard takes more than ten seconds at the first rate."""

LARGE, DIM = 3_000, 1_024


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovesScene]:
    with (
        RoleCluster(
            tmp_path_factory.mktemp("drain"),
            workers=len(ZONES),
            zones=ZONES,
            coordinators=2,
            lease_ttl_s=TTL_S,
            coordinator_settings={"replace_after_s": 3600},
        ) as cluster,
        shoal.connect(cluster.address, timeout=30) as client,
    ):
        yield MovesScene(cluster, client)


@pytest.fixture(scope="module")
def rows(playing: MovesScene) -> npt.NDArray[np.float32]:
    playing.fill("small", 400, 8, shards=4, replicas=3)
    return playing.fill("large", LARGE, DIM, shards=1, replicas=2, index="flat")


@pytest.fixture(autouse=True)
def settled(playing: MovesScene, rows: npt.NDArray[np.float32]) -> Iterator[None]:
    """Check after each test that everything is as it must be."""
    zones = {name: zones_of(playing.homes(name), _zone_of(playing)) for name in ("small", "large")}
    yield
    playing.client.rebalance.set(move_bytes_per_s=FAST)
    for standing in playing.client.workers.list():
        if standing.drain is not None:
            playing.client.workers.undrain(standing.worker)
    playing.await_rest()
    plan = playing.plan()
    if not plan.empty:
        playing.client.rebalance.apply(plan)
    playing.await_rest()
    after = {name: zones_of(playing.homes(name), _zone_of(playing)) for name in ("small", "large")}
    assert {name: {shard: len(set(each)) for shard, each in found.items()} for name, found in after.items()} == {
        name: {shard: len(set(each)) for shard, each in found.items()} for name, found in zones.items()
    }
    assert_finds_all(playing.client, "large", rows)
    assert [client_side.id for client_side in playing.client.scroll("small", consistency="primary")] == list(range(400))


def test_a_drained_worker_holds_nothing_and_its_folder_is_empty(playing: MovesScene) -> None:
    worker = playing.cluster.worker_id(0)
    drained = playing.run("worker", "drain", worker[:6])
    assert drained.code == 0, drained
    assert "holds nothing and leads nothing" in drained.out
    assert all(worker not in homes for name in ("small", "large") for homes in playing.homes(name).values())
    wait_until(lambda: playing.folders(worker) == [], f"its folder is empty: {playing.folders(worker)}")
    standing = next(each for each in playing.client.workers.list() if each.worker == worker)
    assert (standing.replicas, standing.primaries, standing.left) == (0, 0, 0)
    assert playing.run("worker", "undrain", worker[:6]).code == 0
    assert all(each.drain is None for each in playing.client.workers.list())


def test_a_drain_that_the_others_cannot_hold_is_refused_and_changes_nothing(playing: MovesScene) -> None:
    playing.client.create_collection("wide", dim=4, shards=2, replicas=len(ZONES))
    playing.cluster.wait_whole(playing.client)
    before = {name: playing.homes(name) for name in ("small", "large", "wide")}
    history, worker = playing.client.rebalance.history(), playing.cluster.worker_id(2)
    refused = playing.run("worker", "drain", worker)
    assert (refused.code, refused.out) == (1, ""), refused
    assert "wide" in refused.err
    assert len(one_line(refused.err)) == 1
    assert [each.drain for each in playing.client.workers.list()] == [None] * len(ZONES)
    assert (playing.client.rebalance.history(), {name: playing.homes(name) for name in before}) == (history, before)
    playing.client.drop_collection("wide")


def test_a_worker_that_is_drained_of_primaries_keeps_its_replicas(playing: MovesScene) -> None:
    worker = playing.client.cluster().shards[0].primary
    before = {name: playing.homes(name) for name in ("small", "large")}
    drained = playing.run("worker", "drain", worker, "--primaries")
    assert drained.code == 0, drained
    assert "leads nothing and keeps its" in drained.out
    assert all(shard.primary != worker for name in before for shard in playing.shards(name))
    assert {name: playing.homes(name) for name in before} == before


def test_a_worker_that_is_forgotten_is_replaced_at_once_and_refused_when_it_comes_back(playing: MovesScene) -> None:
    cluster, client = playing.cluster, playing.client
    worker = sorted(playing.homes("large")[0])[0]
    number = cluster.worker_of_id(worker)
    refused = playing.run("worker", "forget", worker, "--yes")
    assert refused.code == 1
    assert len(one_line(refused.err)) == 1
    cluster.workers[number].kill()
    wait_until(lambda: _state(client, worker) == "down", "it is down")
    asked = playing.run("worker", "forget", worker)
    assert asked.code == 1, asked
    assert playing.run("worker", "forget", worker, "--yes").code == 0
    wait_until(lambda: all(worker not in homes for name in ("small", "large") for homes in playing.homes(name).values()), "it is replaced")
    cluster.workers[number].start()
    assert cluster.workers[number].wait() != 0
    assert " was forgotten on " in cluster.workers[number].log()
    shutil.rmtree(cluster.data(number))
    cluster.workers[number].start()
    cluster.wait_ready()
    assert cluster.worker_id(number) != worker
    client.rebalance.apply(playing.plan(lambda plan: not plan.empty))


def kill(role: Any) -> Callable[[], None]:
    role.kill()
    start: Callable[[], None] = role.start
    return start


def freeze(role: Any) -> Callable[[], None]:
    role.freeze()
    thaw: Callable[[], None] = role.thaw
    return thaw


def source(playing: MovesScene, move: PlannedMove) -> Any:
    return playing.cluster.workers[playing.cluster.worker_of_id(move.source)]


def target(playing: MovesScene, move: PlannedMove) -> Any:
    return playing.cluster.workers[playing.cluster.worker_of_id(move.target)]


def coordinator(playing: MovesScene, move: PlannedMove) -> Any:
    leader = playing.cluster.leader(playing.client)
    assert leader is not None
    return playing.cluster.coordinators[leader]


def etcd(playing: MovesScene, move: PlannedMove) -> Any:
    return playing.cluster.etcd


EVERY = [(who, how) for who in (source, target, coordinator, etcd) for how in (kill, freeze)]
SHORT = [(target, kill)]


@contextmanager
def copying(playing: MovesScene) -> Iterator[tuple[RebalanceProgress, PlannedMove]]:
    """Drain a worker that holds the large shard, slowly, and wait until that is copied."""
    playing.client.rebalance.set(move_bytes_per_s=SLOW)
    worker = sorted(playing.homes("large")[0])[0]
    playing.client.workers.drain(worker, wait=False)
    progress = playing.await_copying("drain")
    yield progress, next(each for each in progress.entry.plan.moves if each.collection == "large")


@pytest.mark.parametrize(("who", "how"), cells(EVERY, SHORT), ids=lambda each: each.__name__)
def test_a_fault_while_a_move_copies_leaves_every_shard_whole(
    playing: MovesScene, who: Callable[[MovesScene, PlannedMove], Any], how: Callable[[Any], Callable[[], None]]
) -> None:
    with copying(playing) as (progress, move):
        mend = how(who(playing, move))
        try:
            _await_loss(playing, who, move)
        finally:
            mend()
        wait_until(lambda: _answers(lambda: playing.client.rebalance.set(move_bytes_per_s=FAST)), "operators are answered")
        wait_until(lambda: (told := playing.progress()) is not None and told.over, f"the plan ends: {playing.progress()}")
    ended = playing.client.rebalance.progress(progress.entry.plan.id)
    assert all(item.state.ended for item in ended.items), ended.items


def test_a_cancelled_drain_leaves_nothing_behind(playing: MovesScene) -> None:
    with copying(playing) as (_, move):
        cancelled = playing.run("rebalance", "cancel")
        assert cancelled.code == 0, cancelled
        wait_until(lambda: (told := playing.progress()) is not None and told.over, "the plan ends")
        assert move.target not in playing.homes("large")[0] or move.source in playing.homes("large")[0]


def _await_loss(playing: MovesScene, who: Callable[..., Any], move: PlannedMove) -> None:
    """Wait until the fault is noticed by those who are left."""
    if who in (source, target):
        worker = move.source if who is source else move.target
        wait_until(lambda: _state(playing.client, worker) == "down", "it is down")
    elif who is coordinator:
        before = playing.cluster.leader(playing.client)
        wait_until(lambda: playing.cluster.leader(playing.client) not in (None, before) or before is None, "the other one leads")
    else:
        wait_until(lambda: not _answers(lambda: playing.client.rebalance.set(timeout=1)), "operators are not answered")


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except (shoal.Unavailable, shoal.DeadlineExceeded):
        return False
    return True


def _state(client: shoal.Client, worker: str) -> str:
    try:
        return next((str(each.state) for each in client.workers.list() if each.worker == worker), "")
    except (shoal.Unavailable, shoal.DeadlineExceeded):
        return ""


def _zone_of(playing: MovesScene) -> dict[str, str]:
    return {playing.cluster.worker_id(number): zone for number, zone in enumerate(ZONES)}
