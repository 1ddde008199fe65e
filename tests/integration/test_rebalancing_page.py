"""The page about moving data: its commands run in the order of the page, and print what it shows.

Each section of the page that has commands has a step here, which brings the cluster into the state that the section
speaks of. All use one cluster: each begins where the one before it has ended.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import shoal
from tests.integration.moves_scene import MovesScene, Ran
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/operations/rebalancing.md").read_text(encoding="utf-8")
SLOW, USUAL = 1 << 20, 48 << 20
PATTERNS = (
    (r"\b[0-9a-f]{8}\b", "ID"),
    (r"\bplan [0-9a-f]{6,}|\bapply [0-9a-f]{6,}", "PLAN"),
    (r"\b(?:fashion|books)/\d+(?:, (?:fashion|books)/\d+)*", "SHARD"),
    (r"\d[\d.]* (?:B|KiB|MiB|GiB)", "SIZE"),
    (r"\d[\d.]* (?:ms|s|min)\b", "TIME"),
    (r"\b\d+ -> \d+\b|\d+", "N"),
    (r"1 primary changes hands|N primary changes hands", "N primaries change hands"),
    (r"(?<= )(?:[abc]|-)(?= |$)", "."),
    (r"SIZE(?= +(?:SIZE|\.)$)|\.(?= +(?:SIZE|\.)$)|(?<=[ .E])(?:SIZE|\.)$", "IN-OUT"),
    (r" +", " "),
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """What stands between two fences. language: "shell" for commands, "" for a screen."""

    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each section that has some, in the order of the page."""
    found: dict[str, list[Block]] = {}
    for part in PAGE.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            found[title] = [Block(language=language, text=text) for language, text in blocks]
    return found


@dataclass
class Walk:
    """A reader of the page, at a terminal of the cluster. folder: where commands run."""

    scene: MovesScene
    folder: Path

    def run(self, commands: str, answer: str = "") -> Ran:
        """Run commands as a shell does, up to the first that fails. answer: what is typed."""
        environment = {**os.environ, "SHOAL_ADDRESS": self.scene.cluster.address, "COLUMNS": "200"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        command = ["bash", "-eu", "-o", "pipefail", "-c", commands]
        ended = subprocess.run(
            command, cwd=self.folder, env=environment, input=answer, capture_output=True, text=True, timeout=120, check=False
        )
        return Ran(code=ended.returncode, out=ended.stdout, err=ended.stderr)

    def done(self, commands: str, answer: str = "") -> str:
        """Run commands that succeed; return what they print."""
        ran = self.run(commands, answer)
        assert ran.code == 0, ran
        return ran.out

    def add_worker(self) -> None:
        """Add a worker, and wait until a plan moves something to it."""
        number = self.scene.cluster.add_worker()
        self.scene.cluster.wait_ready()
        new = self.scene.cluster.worker_id(number)
        self.scene.plan(lambda plan: any(move.target == new for move in plan.moves))


def shape(line: str) -> str:
    """Return a line of a screen with patterns instead of ids, names, sizes, times and numbers."""
    for pattern, name in PATTERNS:
        line = re.sub(pattern, name, line)
    return line.rstrip()


def shapes(screen: str) -> list[str]:
    """Return the shapes of the lines of a screen, each once. Workers are in any order: their ids are random."""
    found = list(dict.fromkeys(shape(line) for line in screen.splitlines() if line != "..."))
    parts = itertools.groupby(found, key=lambda each: each.startswith("ID "))
    return [line for of_workers, part in parts for line in (sorted(part) if of_workers else part)]


def adding(walk: Walk, blocks: list[Block]) -> None:
    walk.add_worker()
    (block,) = blocks
    printed = walk.done(block.text)
    assert printed.splitlines()[-1].startswith("nothing to do: ")
    stale = walk.run("shoal rebalance apply plan.json --yes")
    assert (stale.code, stale.out) == (4, ""), "the cluster has changed since the plan was made"


def reading(walk: Walk, blocks: list[Block]) -> None:
    walk.add_worker()
    (block,) = blocks
    prompt, _, shown = block.text.partition("\n")
    printed = walk.done(prompt.removeprefix("$ "))
    only_sometimes = {each for each in shapes(shown) if "change hands" in each}
    assert [each for each in shapes(shown) if each not in only_sometimes] == [
        each for each in shapes(printed) if each not in only_sometimes
    ], printed


def running(walk: Walk, blocks: list[Block]) -> None:
    walk.scene.client.rebalance.set(move_bytes_per_s=SLOW)
    begun = len(walk.scene.client.rebalance.history())
    applied = walk.scene.begin("rebalance", "apply", "--yes")
    wait_until(lambda: len(walk.scene.client.rebalance.history()) > begun, "the plan has begun")
    (block,) = blocks
    printed = walk.done(block.text)
    assert re.search(r"^done: \d+ of \d+ moved", printed, flags=re.MULTILINE), printed
    assert walk.scene.ended(applied).code == 0


def speed(walk: Walk, blocks: list[Block]) -> None:
    (block,) = blocks
    printed = walk.done(block.text)
    faster, _, usual = printed.rpartition("WHAT")
    assert "100.0 MiB/s" in faster, printed
    assert "48.0 MiB/s" in usual, printed
    assert walk.scene.client.rebalance.set() == shoal.BalanceSettings()


def taking_out(walk: Walk, blocks: list[Block]) -> None:
    (block,) = blocks
    printed = walk.done(block.text)
    assert "holds nothing and leads nothing" in printed
    assert "is not drained any more, it holds 0 replicas" in printed
    assert all(each.drain is None for each in walk.scene.client.workers.list())


def restarting(walk: Walk, blocks: list[Block]) -> None:
    one, end = blocks
    named, drained, undrained = one.lines
    worker = walk.done(f'{named}\necho "$WORKER"').strip()
    assert "leads nothing and keeps its" in walk.done(f"{named}\n{drained}")
    process = walk.scene.cluster.workers[walk.scene.cluster.worker_of_id(worker)]
    assert process.stop() == 0
    process.start()
    walk.scene.cluster.wait_whole(walk.scene.client)
    wait_until(lambda: "all is well" in walk.done("shoal status"), "the status says that all is well")
    walk.done(f"{named}\n{undrained}")
    walk.scene.plan()
    walk.done(end.text)


def lost(walk: Walk, blocks: list[Block]) -> None:
    (block,) = blocks
    cluster, client = walk.scene.cluster, walk.scene.client
    number = len(cluster.workers) - 1
    worker, process = cluster.worker_id(number), cluster.workers[number]
    process.kill()
    wait_until(lambda: "down" in walk.done("shoal worker list"), "the list says that it is down")
    (shown,) = re.findall(r"forget (\w+)", block.text)
    command = block.text.replace(shown, worker[:8])
    refused = walk.run(command, "n\n")
    assert (refused.code, refused.out.strip()) == (1, "")
    assert re.search(r"\d+ replicas? (is|are) replaced at once", refused.err)
    assert "is forgotten" in walk.done(command, "y\n")
    process.start()
    assert process.wait() != 0, "it is refused"
    shutil.rmtree(cluster.data(number))
    process.start()
    cluster.wait_whole(client)
    assert cluster.worker_id(number) != worker
    assert worker not in {each.worker for shard in client.cluster().shards for each in shard.replicas}


def automatic(walk: Walk, blocks: list[Block]) -> None:
    (block,) = blocks
    printed = walk.done(block.text)
    assert "on: plans are made and applied without an operator" in printed
    assert not walk.scene.client.rebalance.set().auto


STEPS: Mapping[str, Callable[[Walk, list[Block]], None]] = {
    "Adding a worker": adding,
    "Reading a plan": reading,
    "While a plan runs": running,
    "How fast": speed,
    "Taking a worker out": taking_out,
    "Restarting workers one after the other": restarting,
    "A machine is lost": lost,
    "Automatic balancing": automatic,
}


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with (
        RoleCluster(tmp_path_factory.mktemp("page"), workers=3, spares=2, zones=["a", "b", "c", "a", "b"], lease_ttl_s=2) as cluster,
        shoal.connect(cluster.address, timeout=30) as client,
    ):
        scene = MovesScene(cluster, client)
        scene.fill("fashion", 1_200, 32, shards=6, replicas=2, index="flat")
        scene.fill("books", 800, 32, shards=4, replicas=2, index="flat")
        yield Walk(scene, tmp_path_factory.mktemp("terminal"))


@pytest.mark.parametrize("title", STEPS)
def test_the_commands_of_a_section_do_what_it_says(walk: Walk, title: str) -> None:
    STEPS[title](walk, sections()[title])
    walk.scene.await_rest()


def test_every_section_with_commands_is_tried() -> None:
    assert list(sections()) == list(STEPS)


def test_the_ids_of_workers_may_have_any_order() -> None:
    old, new = "6b525986  a  7.2 MiB  123 %", "02b73f48  b  new  0 B"
    assert shapes(f"WORKER ZONE\n{old}\n{new}\n\nplan") == shapes(f"WORKER ZONE\n{new}\n{old}\n\nplan")
    assert shapes(f"WORKER ZONE\n{old}\n{new}") != shapes(f"{old}\nWORKER ZONE\n{new}")


def test_a_line_of_another_shape_is_noticed() -> None:
    shown = "fashion/2  9be00000 -> e41d0000  340.0 MiB  381.0 MiB  9be00000 is 35 % over"
    assert shape(shown) == shape("books/11  0be00000 -> 041d0000  1.2 GiB  2 KiB  041d0000 is 100 % over")
    assert shape(shown) != shape(shown.replace("over", "under"))
