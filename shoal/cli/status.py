"""The command `shoal status`: workers, shards, moves under way, and a sentence for each problem."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import typer

from shoal.cli import output
from shoal.cli.advice import problems_of
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.status_notes import OperatorsView, view_of
from shoal.cli.worker import standing_document
from shoal.cli.worker_names import WorkerNames
from shoal.client.client import Client
from shoal.core.errors import NotFound, ShoalError
from shoal.core.health import WorkerCondition
from shoal.core.replies import ClusterInfo, ShardInfo, WorkerInfo

_TIMEOUT_S = 5.0
_BESIDE_S = 2.0
"""Longest time in seconds for each call that only adds to what is shown."""


def status(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """Show the workers and shards of the cluster, what moves, and what is wrong."""
    with client_of(ctx, address, timeout, _TIMEOUT_S) as client:
        cluster = client.cluster()
        view = _view(client, cluster)
    names = WorkerNames(worker.id for worker in cluster.workers)
    problems, hints = problems_of(cluster, view, time.time()), view.hints(names)
    if as_json:
        standings = [standing_document(each) for each in view.workers.values()]
        output.document({**dataclasses.asdict(cluster), "standings": standings, "problems": problems, "hints": hints})
        return
    _show(cluster, view, names)
    output.line("")
    for problem in problems:
        output.line(f"problem: {problem}")
    if not problems:
        output.line(f"all is well: {output.counted(len(cluster.workers), 'worker')} up, {output.counted(len(cluster.shards), 'shard')} ok")
    for hint in hints:
        output.line(f"hint: {hint}")


def _view(client: Client, cluster: ClusterInfo) -> OperatorsView:
    """Return what the leading coordinator says of workers and moves, as far as it answers."""
    if cluster.leader is None:
        return OperatorsView()
    try:
        workers = client.workers.list(timeout=_BESIDE_S)
        return view_of(workers, client.rebalance.progress(timeout=_BESIDE_S))
    except NotFound:
        return view_of(workers, None)
    except ShoalError as error:
        output.note(f"note: drains, absences and moves are not shown, the coordinator does not tell them: {error.message}")
        return OperatorsView()


def _show(cluster: ClusterInfo, view: OperatorsView, names: WorkerNames) -> None:
    output.line(f"cluster {cluster.cluster_id}, led by {cluster.leader or 'nobody'}")
    output.line("")
    output.table(
        ("worker", "state", "address", "pid", "node", "zone", "memory", "used", "budget"),
        (
            (each.id, view.state_of(each.id, each.state), each.address, each.pid or None, each.node, each.zone, *map(_size, _memory(each)))
            for each in cluster.workers
        ),
    )
    if cluster.shards:
        marked = _marked(cluster, names)
        moving = view.moving(names)
        output.line("")
        output.table(
            ("collection", "shard", "state", "replication", "primary", "term", "in sync", "others", "memory"),
            (
                (*_named(each), each.state, each.replication, *_members(each, marked, moving.get(_named(each), "")), _size(each.memory))
                for each in cluster.shards
            ),
        )


def _named(shard: ShardInfo) -> tuple[str, int]:
    return shard.collection, shard.shard


def _marked(cluster: ClusterInfo, names: WorkerNames) -> dict[str, str]:
    """Return the short name of each worker, with the worker's state if it is not up."""
    marks = {worker.id: "" if worker.state is WorkerCondition.UP else f" ({worker.state})" for worker in cluster.workers}
    return {worker: names[worker] + mark for worker, mark in marks.items()}


def _members(shard: ShardInfo, names: Mapping[str, str], moving: str) -> tuple[str, int, str, str]:
    """Return the primary, the term, the workers in sync, and the other workers with their roles.

    moving: how far a move of the shard is, in words.
    """
    others = dict.fromkeys(shard.elr, "may lead")
    others |= {worker: _behind(shard, worker) for worker in shard.learners}
    others |= dict.fromkeys(shard.leaving, "leaving")
    in_sync = ", ".join(names.get(each, each) for each in shard.isr)
    return (
        names.get(shard.primary, shard.primary),
        shard.term,
        in_sync,
        ", ".join([*(f"{names.get(each, each)} ({what})" for each, what in others.items()), *([moving] if moving else [])]),
    )


def _behind(shard: ShardInfo, worker: str) -> str:
    applied = {each.worker: each.applied_seq for each in shard.replicas if each.state}
    if worker not in applied or shard.primary not in applied:
        return "learner"
    return f"learner, {max(0, applied[shard.primary] - applied[worker])} behind"


def _memory(worker: WorkerInfo) -> tuple[int, int, int]:
    """Return the bytes resident, the bytes of the budget in use, and the budget."""
    return worker.memory, worker.memory_used, worker.memory_budget


def _size(size: int) -> str | None:
    return output.size(size) if size else None
