"""The command `shoal status`: workers, shards, and a sentence for each problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import typer

from shoal.cli import output
from shoal.cli.advice import problems_of
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.core.health import WorkerCondition
from shoal.core.replies import ClusterInfo, ShardInfo, WorkerInfo

_TIMEOUT_S = 5.0
_SHORT = 8


def status(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """Show the workers and shards of the cluster, and what is wrong."""
    with client_of(ctx, address, timeout, _TIMEOUT_S) as client:
        cluster = client.cluster()
    problems = problems_of(cluster)
    if as_json:
        output.document({**dataclasses.asdict(cluster), "problems": problems})
        return
    _show(cluster)
    output.line("")
    for problem in problems:
        output.line(f"problem: {problem}")
    if not problems:
        output.line(f"all is well: {output.counted(len(cluster.workers), 'worker')} up, {output.counted(len(cluster.shards), 'shard')} ok")


def _show(cluster: ClusterInfo) -> None:
    output.line(f"cluster {cluster.cluster_id}, led by {cluster.leader or 'nobody'}")
    output.line("")
    output.table(
        ("worker", "state", "address", "pid", "node", "zone", "memory", "used", "budget"),
        (
            (each.id, each.state, each.address, each.pid or None, each.node, each.zone, *map(_size, _memory(each)))
            for each in cluster.workers
        ),
    )
    if cluster.shards:
        names = _short_names(cluster)
        output.line("")
        output.table(
            ("collection", "shard", "state", "replication", "primary", "term", "in sync", "others", "memory"),
            ((*_named(each), each.state, each.replication, *_members(each, names), _size(each.memory)) for each in cluster.shards),
        )


def _named(shard: ShardInfo) -> tuple[str, int]:
    return shard.collection, shard.shard


def _short_names(cluster: ClusterInfo) -> dict[str, str]:
    """Return the shortest beginning of each worker's id that is unique, with the worker's state if it is not up."""
    ids = sorted({worker.id for worker in cluster.workers})
    length = next((size for size in range(_SHORT, 40) if len({each[:size] for each in ids}) == len(ids)), 40)
    marks = {worker.id: "" if worker.state is WorkerCondition.UP else f" ({worker.state})" for worker in cluster.workers}
    return {each: each[:length] + marks[each] for each in ids}


def _members(shard: ShardInfo, names: Mapping[str, str]) -> tuple[str, int, str, str]:
    """Return the primary, the term, the workers in sync, and the other workers with their roles."""
    others = dict.fromkeys(shard.elr, "may lead")
    others |= {worker: _behind(shard, worker) for worker in shard.learners}
    others |= dict.fromkeys(shard.leaving, "leaving")
    in_sync = ", ".join(names.get(each, each) for each in shard.isr)
    return (
        names.get(shard.primary, shard.primary),
        shard.term,
        in_sync,
        ", ".join(f"{names.get(each, each)} ({what})" for each, what in others.items()),
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
