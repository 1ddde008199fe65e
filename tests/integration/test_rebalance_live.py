"""A worker joins three, and `shoal rebalance` gives it its share, under a load whose answers a model judges.

The tests use one cluster, in this order: each begins where the one before it has ended.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import shoal
from shoal.core.rebalance import PlanState
from tests.integration.moves_scene import MovesScene, one_line, worst_off
from tests.integration.rewriting import Rewriting
from tests.support.cluster.role_cluster import RoleCluster, wait_until

SHARDS, ROWS, DIM = 12, 6_000, 128


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovesScene]:
    with (
        RoleCluster(tmp_path_factory.mktemp("rebalance"), workers=3, spares=1, coordinators=2, lease_ttl_s=2) as cluster,
        shoal.connect(cluster.address, timeout=30) as client,
    ):
        yield MovesScene(cluster, client)


@pytest.fixture(scope="module")
def load(playing: MovesScene) -> Iterator[Rewriting]:
    rows = playing.fill("books", ROWS, DIM, shards=SHARDS, replicas=1)
    with Rewriting(playing.cluster.addresses, "books", rows) as load:
        load.pause()
        yield load


@contextmanager
def under(load: Rewriting) -> Iterator[None]:
    """Search and write in the block, and check all answers."""
    load.resume()
    now = time.monotonic()
    yield
    wait_until(lambda: load.all_succeeded_since(now), "searches and writes go on")
    load.assert_unharmed()


def test_a_worker_that_joins_gets_its_share_and_undo_takes_it_back(playing: MovesScene, load: Rewriting, tmp_path: Path) -> None:
    before = playing.homes("books")
    playing.cluster.add_worker()
    playing.cluster.wait_ready()
    new = playing.cluster.worker_id(3)
    wait_until(lambda: _hints(playing, new), "the status tells that it is idle")
    plan = playing.plan(lambda plan: len(plan.workers) == 4 and len(plan.moves) == SHARDS // 4)
    assert sum(move.memory_bytes for move in plan.moves) <= plan.least_bytes + max(move.memory_bytes for move in plan.moves)
    assert {move.target for move in plan.moves} == {new}
    assert worst_off(plan) <= plan.tolerance
    file = tmp_path / "plan.json"
    assert playing.run("rebalance", "plan", "--check", "-o", file).code == 3
    with under(load):
        applied = playing.begin("rebalance", "apply", file, "--yes")
        wait_until(lambda: playing.client.rebalance.history() != [] or applied.poll() is not None, "it has begun")
        watched = playing.run("rebalance", "watch", "--json")
        ended = playing.ended(applied)
    assert (ended.code, watched.code) == (0, 0), (ended, watched)
    assert ended.out.splitlines()[-1].startswith(f"done: {len(plan.moves)} of {len(plan.moves)} moved")
    documents = [json.loads(line) for line in watched.out.splitlines()]
    assert [each["ended"] for each in documents] == [False] * (len(documents) - 1) + [True]
    playing.plan(lambda plan: plan.empty)
    assert "nothing to do" in playing.run("rebalance", "plan", "--check").out
    playing.await_rest()
    assert sum(new in homes for homes in playing.homes("books").values()) == SHARDS // 4
    with under(load):
        assert playing.run("rebalance", "undo", "--yes").code == 0
    playing.await_rest()
    assert playing.homes("books") == before
    listed = playing.run("rebalance", "history", "--json").document()
    assert [(each["kind"], each["state"], each["failed"]) for each in listed] == [("undo", "done", 0), ("balance", "done", 0)]


def _hints(playing: MovesScene, worker: str) -> bool:
    said = playing.run("status").out
    return f"worker {worker[:4]}" in said and "`shoal rebalance plan`" in said


def test_ctrl_c_ends_the_command_and_not_the_plan(playing: MovesScene, load: Rewriting) -> None:
    playing.plan(lambda plan: len(plan.moves) > 1)
    playing.client.rebalance.set(moves_at_once=1)
    with under(load):
        applied = playing.begin("rebalance", "apply", "--yes")
        wait_until(lambda: (told := playing.progress()) is not None and told.entry.state is PlanState.RUNS, "it runs")
        playing.client.rebalance.pause()
        applied.send_signal(signal.SIGINT)
        left = playing.ended(applied)
        assert (left.code, "the plan goes on" in left.err) == (130, True), left
        assert playing.run("rebalance", "resume").code == 0
        assert playing.run("rebalance", "watch").code == 0
    playing.client.rebalance.set(moves_at_once=4)
    playing.await_rest()


WRONG = [
    (("rebalance", "apply"), 1, "nothing was applied"),
    (("rebalance", "apply", "ffffff", "--yes"), 4, "ffffff"),
    (("rebalance", "apply", "no-such-file.json"), 1, "no-such-file.json"),
    (("rebalance", "cancel"), 1, "no plan runs"),
    (("rebalance", "set", "--rate", "fast"), 2, "fast"),
    (("rebalance", "set", "--at-once", "0"), 1, "0"),
    (("worker", "drain", "zzzz"), 1, "zzzz"),
    (("worker", "forget", "zzzz", "--yes"), 1, "zzzz"),
]


def test_wrong_input_is_one_clear_line_and_changes_nothing(playing: MovesScene, load: Rewriting) -> None:
    client = playing.client
    before = (client.workers.list()[0].drain, client.rebalance.set(), client.rebalance.history())
    live = (("worker", "forget", playing.cluster.worker_id(3), "--yes"), 1, "up")
    # Without anything to do there is nothing to ask.
    wrong = [*(WRONG[1:] if playing.plan().empty else WRONG), live]
    for (words, code, named), command in [(each, playing.begin(*each[0])) for each in wrong]:
        ran = playing.ended(command)
        said = one_line(ran.err)
        assert (ran.code, "Traceback" in ran.err) == (code, False), (words, ran)
        assert any(named in line for line in said), (words, ran)
        assert code == 2 or len(said) == 1 or words == ("rebalance", "apply"), (words, ran)
    assert (client.workers.list()[0].drain, client.rebalance.set(), client.rebalance.history()) == before
