"""Tell the user what to do next: after an error, and for each problem of a cluster. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shoal.cli.status_notes import OperatorsView
from shoal.client.transports.wrong_address import ADDRESS
from shoal.core.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    InvalidArgument,
    NotConnected,
    NotFound,
    NotInstalled,
    NotReached,
    PermissionDenied,
    PreconditionFailed,
    ResourceExhausted,
    ShoalError,
    TlsMismatch,
    Unauthenticated,
    Unavailable,
)
from shoal.core.file_budget import OPEN_FILES_LIMIT, low_limit_words
from shoal.core.health import ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.replies import ClusterInfo, ShardInfo, WorkerInfo

_NEXT: dict[type[ShoalError], str] = {
    InvalidArgument: "correct the input and try again",
    NotFound: "`shoal collection list` shows what there is",
    AlreadyExists: "choose another name, or drop the old one with `shoal collection drop`",
    PreconditionFailed: "`shoal status` shows the state of the cluster",
    NotInstalled: "then try again",
    ResourceExhausted: "send less at once, or try again later",
    Unavailable: "check `shoal status` and --address, or start a cluster with `shoal up`",
    NotConnected: "is a cluster running there? start one with `shoal up`, or name another with --address",
    NotReached: "is a cluster running there? start one with `shoal up`, or name another with --address; --timeout waits for one",
    TlsMismatch: "files are given with --tls-ca, --tls-cert and --tls-key before the command, or by a profile",
    DeadlineExceeded: "try again with a longer --timeout",
    Unauthenticated: "give a key with --api-key-file before the command, or in SHOAL_API_KEY",
    PermissionDenied: "`shoal key list` shows what each key may do, if yours may operate",
    DataLoss: "`shoal status` names the damaged shard",
}

_WHERE_TO_LOOK = {
    "worker": "`shoal worker list` shows the workers",
    "key": "`shoal key list` shows the keys",
    "plan": "`shoal rebalance history` shows the plans",
    **dict.fromkeys(("path", "ca", "host"), "correct that and run it again, `shoal cert init --help` tells more"),
}
"""What to do about an error that says that something is not there, or not as it should be, by its field."""

_SHOWN = 5

_WELL = (ReplicationCondition.OK, ReplicationCondition.CREATING)

_NEARLY_FULL = 0.95

_CERTIFICATE_DAYS, _DAY_S = 30, 86_400
"""A certificate that expires in fewer days is a problem."""


def next_step(error: ShoalError) -> str:
    """Return what the user can do about an error."""
    if isinstance(error, ResourceExhausted) and error.details.limit == OPEN_FILES_LIMIT:
        return "`shoal status` shows which worker may open too few files"
    if isinstance(error, ResourceExhausted) and error.details.limit == "memory":
        return "`shoal status` shows what memory is used; delete or drop what is not needed, choose a smaller index, or give workers more"
    if error.details.field == ADDRESS and isinstance(error, (PreconditionFailed, Unavailable)):
        return "name the address of a router with --address, or start a cluster with `shoal up`"
    if isinstance(error, (NotFound, PreconditionFailed, AlreadyExists)) and error.details.field in _WHERE_TO_LOOK:
        return _WHERE_TO_LOOK[error.details.field]
    from_router = error.details.shard is not None or bool(error.details.applied)
    if isinstance(error, Unavailable) and from_router:
        return "`shoal status` says what the shard waits for"
    if isinstance(error, PreconditionFailed) and error.details.field == "fields":
        return "`shoal collection show` tells how many builds are pending; --boost names the fields to search"
    if isinstance(error, PreconditionFailed) and error.details.field == "index":
        return "searches stay exact until there are more points; `shoal collection alter --index` chooses another index"
    return _NEXT.get(type(error), "this is a defect, please report it with the servers' logs")


def problems_of(cluster: ClusterInfo, view: OperatorsView | None = None, now: float | None = None) -> list[str]:
    """Return one text for each problem of the cluster: what is wrong and what to do. The list is empty without
    problems. view: what the coordinator says of workers. now: in seconds since 1970; None: certificates are not looked
    at.
    """
    known = OperatorsView() if view is None else view
    found = [] if cluster.leader else ["no coordinator leads, so nothing is created, dropped or failed over; start one"]
    if not cluster.workers:
        found.append("no worker is registered, so nothing can be stored; start one")
    missed = {worker.id for worker in cluster.workers if worker.state is not WorkerCondition.UP}
    found += [
        _worker_problem(worker, _waiting_for(worker, cluster.shards), known.replaced(worker.id))
        for worker in cluster.workers
        if worker.id in missed
    ]
    found += [
        f"worker {worker.id}: {worker.disk}; free room on its disk, or drop what is not needed" for worker in cluster.workers if worker.disk
    ]
    found += [_memory_problem(worker) for worker in cluster.workers if _is_nearly_full(worker)]
    found += [_files_problem(worker) for worker in cluster.workers if _is_short_of_files(worker)]
    explained = {id(shard) for shard in cluster.shards if shard.primary in missed and _waits_for(shard, shard.primary)}
    found += [_shard_problem(shard) for shard in cluster.shards if shard.state is not ShardCondition.OK and id(shard) not in explained]
    return found + _replication_problems(cluster.shards) + _security_problems(cluster, now)


def _security_problems(cluster: ClusterInfo, now: float | None) -> list[str]:
    """Return what lets strangers in, or soon keeps everybody out, as the router that answered tells of itself."""
    if cluster.insecure:
        return [
            "the router listens beyond loopback without TLS (insecure = true): whoever reaches it may read, write and delete, or, "
            "where it asks for keys, take one on its way; make certificates with `shoal cert init`"
        ]
    if now is None or cluster.certificate_not_after is None:
        return []
    left = math.ceil((cluster.certificate_not_after - now) / _DAY_S)
    if left > _CERTIFICATE_DAYS:
        return []
    when = "has expired" if left <= 0 else f"expires in {left} day{'' if left == 1 else 's'}"
    return [f"the certificate of the router {when}; `shoal cert init DIR --renew` makes new ones, and no restart is needed"]


def _waiting_for(worker: WorkerInfo, shards: Sequence[ShardInfo]) -> list[str]:
    """Return the shards that cannot answer without this worker."""
    return [f"{shard.collection}/{shard.shard}" for shard in shards if _waits_for(shard, worker.id)]


def _waits_for(shard: ShardInfo, worker: str) -> bool:
    """Return whether the worker holds the only replica of the shard. The shard then cannot answer until the worker is
    back.
    """
    return shard.state is ShardCondition.NO_PRIMARY and shard.primary == worker and len(shard.replicas) < 2


def _replication_problems(shards: Sequence[ShardInfo]) -> list[str]:
    """Return problems of shards that answer but have too few replicas in sync.

    Shards with the same state and reason share one text.
    """
    by_reason: dict[tuple[ReplicationCondition, str], list[str]] = {}
    for shard in shards:
        if shard.state is ShardCondition.OK and shard.replication not in _WELL:
            by_reason.setdefault((shard.replication, shard.detail), []).append(f"{shard.collection}/{shard.shard}")
    return [_replication_problem(state, why, names) for (state, why), names in by_reason.items()]


def _replication_problem(state: ReplicationCondition, why: str, names: list[str]) -> str:
    one = len(names) == 1
    refused = f" and {'refuses' if one else 'refuse'} writes" if state is ReplicationCondition.READ_ONLY else ""
    return f"{_shards(names)} {'is' if one else 'are'} {state}{refused}: {why}; bring back what is down, or wait for what catches up"


def _shards(names: list[str]) -> str:
    if len(names) == 1:
        return f"shard {names[0]}"
    return f"{len(names)} shards {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _worker_problem(worker: WorkerInfo, waiting: list[str], replaced: str) -> str:
    so = f", and {_shards(waiting)} wait{'s' if len(waiting) == 1 else ''} for it" if waiting else ""
    if worker.state is WorkerCondition.DOWN:
        else_replaced = f", else its replicas are {replaced}" if replaced and not waiting else ""
        return f"worker {worker.id} is down{so}; start it again with its data folder{else_replaced}"
    return f"worker {worker.id} at {worker.address} is {worker.state}{so}; check its process (pid {worker.pid}) and the network"


def _is_nearly_full(worker: WorkerInfo) -> bool:
    return worker.memory_budget > 0 and worker.memory_used >= _NEARLY_FULL * worker.memory_budget


def _is_short_of_files(worker: WorkerInfo) -> bool:
    return bool(low_limit_words(worker.file_limit)) or 0 < _NEARLY_FULL * worker.file_limit <= worker.files_open


def _files_problem(worker: WorkerInfo) -> str:
    words = low_limit_words(worker.file_limit) or f"its process may have {worker.file_limit:,} files open; drop collections or add a worker"
    return f"worker {worker.id}: {words}; it has {worker.files_open:,} open, and replicas beyond the limit are refused"


def _memory_problem(worker: WorkerInfo) -> str:
    share = f"{100 * worker.memory_used / worker.memory_budget:.0f} %"
    return (
        f"worker {worker.id}: {share} of its memory budget is in use, and writes beyond it are refused; "
        "delete or drop what is not needed, choose a smaller index, or raise memory_budget_bytes"
    )


def _shard_problem(shard: ShardInfo) -> str:
    name = f"shard {shard.collection}/{shard.shard}"
    because = f": {shard.detail}" if shard.detail else ""
    match shard.state:
        case ShardCondition.CREATING:
            return f"{name} is still being created{because}; wait a moment"
        case ShardCondition.OPENING if shard.replication is ReplicationCondition.READ_ONLY:
            return (
                f"{name} cannot be written{because}; bring back what is down, or make do with fewer: "
                f"shoal collection alter {shard.collection} --min-isr N"
            )
        case ShardCondition.OPENING:
            return f"{name} is being opened{because}; wait a moment, and see the worker's log when it takes long"
        case ShardCondition.NO_PRIMARY if len(shard.replicas) > 1:
            so = "" if shard.replication is ReplicationCondition.UNAVAILABLE else "; another replica is about to lead it"
            return f"{name} has no primary{because}{so}"
        case ShardCondition.NO_PRIMARY:
            return f"{name} has no primary{because}; bring back worker {shard.primary or '(unknown)'}"
        case ShardCondition.FAILED:
            return (
                f"{name} has failed{because}; see the log of worker {shard.primary or '(unknown)'}, keep its folder, restore from a backup"
            )
        case _:
            return f"{name} is {shard.state}{because}; see the servers' logs"
