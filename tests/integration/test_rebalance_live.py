"""A worker joins three, and `shoal rebalance` gives it its share, under a load whose answers a model judges.

The tests use one cluster, in this order: each begins where the one before it has ended.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import shoal
from shoal.core.rebalance import PlanState
from tests.chaos.load import Load
from tests.integration.moves_scene import MovesScene, assert_finds_all, one_line, worst_off
from tests.support.cluster.role_cluster import RoleCluster, wait_until

SHARDS, ROWS, DIM = 12, 6_000, 128
PAUSES = 20.0
"""Multiple of the usual pauses of the load."""


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovesScene]:
    with (
        RoleCluster(tmp_path_factory.mktemp("rebalance"), workers=3, spares=1, coordinators=2, lease_ttl_s=2) as cluster,
        shoal.connect(cluster.address, timeout=30) as client,
    ):
        yield MovesScene(cluster, client)


@pytest.fixture(scope="module")
def rows(playing: MovesScene) -> npt.NDArray[np.float32]:
    return playing.fill("books", ROWS, DIM, shards=SHARDS, replicas=1)


@pytest.fixture(scope="module")
def load(playing: MovesScene, rows: npt.NDArray[np.float32]) -> Iterator[Load]:
    """Few writes, so that the collection stays small beside the other one."""
    with Load(playing.cluster.addresses, writers=1, searchers=1, shards=4, pauses=PAUSES) as load:
        playing.cluster.wait_whole(playing.client)
        yield load


def assert_unharmed(playing: MovesScene, load: Load, rows: npt.NDArray[np.float32]) -> None:
    """Check that no call failed, no answer was wrong and nothing is missing."""
    load.pause()
    assert (load.lost(), load.wrong, [gauge.messages for gauge in load.gauges]) == ([], [], [[], []])
    load.resume()
    assert_finds_all(playing.client, "books", rows)


def test_a_worker_that_joins_gets_its_share_and_undo_takes_it_back(
    playing: MovesScene, load: Load, rows: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    before = playing.homes("books")
    playing.cluster.add_worker()
    playing.cluster.wait_ready()
    new = playing.cluster.worker_id(3)
    wait_until(
        lambda: f"worker {new[:4]}" in playing.run("status").out and "`shoal rebalance plan`" in playing.run("status").out, "it is told"
    )
    plan = playing.plan(lambda plan: len(plan.workers) == 4)
    assert sum(move.memory_bytes for move in plan.moves) <= plan.least_bytes + max(move.memory_bytes for move in plan.moves)
    assert {move.target for move in plan.moves} == {new}
    file = tmp_path / "plan.json"
    assert playing.run("rebalance", "plan", "--check", "-o", file).code == 3
    applied = playing.begin("rebalance", "apply", file, "--yes")
    wait_until(lambda: playing.client.rebalance.history() != [], "it has begun")
    watched = playing.run("rebalance", "watch", "--json")
    ended = playing.ended(applied)
    assert (ended.code, watched.code) == (0, 0), (ended, watched)
    assert ended.out.splitlines()[-1].startswith(f"done: {len(plan.moves)} of {len(plan.moves)} moved")
    documents = [json.loads(line) for line in watched.out.splitlines()]
    assert [each["ended"] for each in documents] == [False] * (len(documents) - 1) + [True]
    again = playing.plan(lambda plan: plan.empty)
    assert worst_off(again) <= 0.05, (again.workers, again.left)
    playing.await_rest()
    assert "nothing to do" in playing.run("rebalance", "plan", "--check").out
    assert sum(new in homes for homes in playing.homes("books").values()) >= 2
    assert_unharmed(playing, load, rows)
    assert playing.run("rebalance", "undo", "--yes").code == 0
    playing.await_rest()
    assert playing.homes("books") == before
    assert_unharmed(playing, load, rows)
    listed = playing.run("rebalance", "history", "--json").document()
    assert [(each["kind"], each["state"], each["failed"]) for each in listed] == [("undo", "done", 0), ("balance", "done", 0)]


def test_ctrl_c_ends_the_command_and_not_the_plan(playing: MovesScene, load: Load, rows: npt.NDArray[np.float32]) -> None:
    assert playing.run("rebalance", "set", "--at-once", 1).code == 0
    applied = playing.begin("rebalance", "apply", "--yes")
    wait_until(lambda: (told := playing.progress()) is not None and told.entry.state is PlanState.RUNS, "it runs")
    assert playing.run("rebalance", "pause").code == 0
    applied.send_signal(signal.SIGINT)
    left = playing.ended(applied)
    assert (left.code, "the plan goes on" in left.err) == (130, True), left
    assert playing.run("rebalance", "resume").code == 0
    assert playing.run("rebalance", "watch").code == 0
    assert playing.run("rebalance", "set", "--at-once", 4).code == 0
    playing.await_rest()
    assert_unharmed(playing, load, rows)


WRONG = [
    (("rebalance", "apply"), 1, "nothing was applied"),
    (("rebalance", "apply", "ffffff", "--yes"), 1, "ffffff"),
    (("rebalance", "apply", "no-such-file.json"), 1, "no-such-file.json"),
    (("rebalance", "cancel"), 1, "no plan runs"),
    (("rebalance", "set"), 2, "--rate"),
    (("rebalance", "set", "--rate", "fast"), 2, "fast"),
    (("rebalance", "set", "--rate", "0"), 1, "0"),
    (("rebalance", "set", "--at-once", "0"), 1, "0"),
    (("rebalance", "set", "--tolerance", "200%"), 2, "200%"),
    (("rebalance", "auto", "perhaps"), 2, "perhaps"),
    (("rebalance", "history", "--limit", "0"), 1, "0"),
    (("worker", "drain", "zzzz"), 1, "zzzz"),
    (("worker", "undrain", ""), 1, "worker"),
    (("worker", "forget", "zzzz", "--yes"), 1, "zzzz"),
]


def test_wrong_input_is_one_clear_line_and_changes_nothing(playing: MovesScene, load: Load) -> None:
    new = playing.cluster.worker_id(3)
    wrong = [*WRONG, (("worker", "forget", new, "--yes"), 1, "up")]
    before = (playing.client.workers.list()[0].drain, playing.client.rebalance.set(), playing.client.rebalance.history())
    if not playing.plan().empty:
        assert playing.run("rebalance", "apply", "--yes").code == 0
        before = (before[0], before[1], playing.client.rebalance.history())
    begun = [(words, code, named, playing.begin(*words)) for words, code, named in wrong[1:]]
    for words, code, named, command in begun:
        ran = playing.ended(command)
        assert ran.code == code, (words, ran)
        said = one_line(ran.err)
        assert named in said[-1] or any(named in line for line in said if "rror" in line), (words, ran)
        assert "Traceback" not in ran.err
        assert code == 2 or len(said) == 1, (words, ran)
    assert (playing.client.workers.list()[0].drain, playing.client.rebalance.set(), playing.client.rebalance.history()) == before
