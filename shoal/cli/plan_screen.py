"""What `shoal rebalance plan` shows: where bytes are now, where they would be, the moves and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal.cli.durations import duration, percent
from shoal.cli.output import counted, size
from shoal.cli.worker_names import WorkerNames
from shoal.core.rebalance import PlanKind, PlannedHandOver, PlannedMove, RebalancePlan, WorkerBalance

WORKER_COLUMNS = ("worker", "zone", "now", "then", "primaries", "in", "out")
MOVE_COLUMNS = ("#", "shard", "from -> to", "memory", "on disk", "why")

_NAMED = 10
"""Most shards that a line names."""


def names_of(plan: RebalancePlan) -> WorkerNames:
    """Return the short names of the workers of a plan."""
    items: Iterable[PlannedMove | PlannedHandOver] = (*plan.moves, *plan.hand_overs)
    return WorkerNames([*(each.worker for each in plan.workers), *(end for each in items for end in (each.source, each.target))])


def headline(plan: RebalancePlan, names: WorkerNames) -> str:
    """Return what a plan starts from, on one line."""
    held = sum(each.bytes for each in plan.workers)
    off = _farthest(plan)
    uneven = f", off by {percent(_off(off))} ({names[off.worker]})" if off is not None else ""
    where = f"{counted(plan.replicas, 'replica')} on {counted(len(plan.workers), 'worker')}, {size(held)} in memory"
    return f"{_purpose(plan, names)}{where}{uneven}, allowed {percent(plan.tolerance)}"


def nothing_to_do(plan: RebalancePlan, names: WorkerNames) -> str:
    """Return why a plan is empty, on one line."""
    if plan.kind is PlanKind.UNDO:
        return f"nothing to do: nothing of plan {plan.subject} can be undone"
    off = _farthest(plan)
    if off is None or _off(off) <= plan.tolerance:
        return f"nothing to do: every worker is within {percent(plan.tolerance)} of what it should hold"
    return f"nothing to do: worker {names[off.worker]} is off by {percent(_off(off))}, and no move would make the cluster more even"


def worker_rows(plan: RebalancePlan, names: WorkerNames) -> list[tuple[str, ...]]:
    """Return a row for each worker, see WORKER_COLUMNS."""
    now = _beside([(each.bytes, each.share_of_target(each.bytes)) for each in plan.workers])
    then = _beside([(each.after_bytes, each.share_of_target(each.after_bytes)) for each in plan.workers])
    return [
        (
            f"{names[each.worker]}{_mark(each)}",
            each.zone,
            before,
            after,
            f"{each.primaries} -> {each.primaries_after}" if each.primaries != each.primaries_after else f"{each.primaries}",
            size(each.in_bytes) if each.in_bytes else "-",
            size(each.out_bytes) if each.out_bytes else "-",
        )
        for each, before, after in zip(plan.workers, now, then, strict=True)
    ]


def move_rows(plan: RebalancePlan, names: WorkerNames) -> list[tuple[str, ...]]:
    """Return a row for each move, in order, see MOVE_COLUMNS."""
    return [
        (
            str(each.number),
            shard_of(each),
            way_of(each, names),
            size(each.memory_bytes),
            size(each.disk_bytes),
            names.in_text(each.why),
        )
        for each in plan.moves
    ]


def shard_of(item: PlannedMove | PlannedHandOver) -> str:
    """Return the shard of an item, as in fashion/0."""
    return f"{item.collection}/{item.shard.number}"


def way_of(item: PlannedMove | PlannedHandOver, names: WorkerNames) -> str:
    """Return from where to where an item goes."""
    return f"{names[item.source]} -> {names[item.target]}"


def remarks(plan: RebalancePlan, names: WorkerNames) -> list[str]:
    """Return what a plan does besides its moves, what it costs, and what stays as it is and why, a line for each."""
    lines = []
    if plan.hand_overs:
        change = "primary changes hands" if len(plan.hand_overs) == 1 else "primaries change hands"
        lines.append(f"{len(plan.hand_overs)} {change} without copying: {_few([shard_of(each) for each in plan.hand_overs])}")
    if plan.moves:
        least = f"; any plan has to move at least {size(plan.least_bytes)} in memory" if plan.least_bytes else ""
        lines.append(f"{size(plan.bytes)} are copied, about {duration(plan.seconds)}{least}. No shard has fewer replicas meanwhile.")
    return lines + stays(plan, names)


def stays(plan: RebalancePlan, names: WorkerNames) -> list[str]:
    """Return what stays as it is, and why, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for each in plan.pinned:
        by_reason.setdefault(each.why, []).append(f"{each.collection}/{each.shard.number}")
    lines = [f"stays as it is: {_few(shards)} ({names.in_text(why)})" for why, shards in by_reason.items()]
    return lines + [f"left: {names.in_text(each)}" for each in plan.left]


def how_to_apply(plan: RebalancePlan, file: str | None) -> str:
    """Return the last line: the plan, and the command that carries it out. file: into which it was written, if any."""
    what = file if file is not None else plan.id
    return f"plan {plan.id} for revision {plan.revision}; to do exactly this: shoal rebalance apply {what}"


def amount_of(plan: RebalancePlan) -> str:
    """Return how much a plan does, as in "3 moves and 1 hand-over, 1.1 GiB"."""
    parts = [counted(len(plan.moves), "move")] if plan.moves or not plan.hand_overs else []
    parts += [counted(len(plan.hand_overs), "hand-over")] if plan.hand_overs else []
    return " and ".join(parts) + (f", {size(plan.bytes)}" if plan.moves else "")


def _purpose(plan: RebalancePlan, names: WorkerNames) -> str:
    match plan.kind:
        case PlanKind.UNDO:
            return f"takes back plan {plan.subject}: "
        case PlanKind.DRAIN:
            return f"drains worker {names[plan.subject]}: "
        case _:
            return ""


def _mark(worker: WorkerBalance) -> str:
    return " draining" if worker.draining else " new" if worker.new else ""


def _farthest(plan: RebalancePlan) -> WorkerBalance | None:
    """Return the worker that is farthest from its share; None if there is no data."""
    with_share = [each for each in plan.workers if each.target_bytes and not each.draining]
    return max(with_share, key=_off, default=None)


def _off(worker: WorkerBalance) -> float:
    return abs(worker.share_of_target(worker.bytes) - 1.0)


def _beside(values: Sequence[tuple[int, float]]) -> list[str]:
    """Return cells with a size and a share of what is due, in two columns that are flush on the right."""
    texts = [(size(held) if held else "0", percent(share)) for held, share in values]
    sizes, shares = (max((len(each[at]) for each in texts), default=0) for at in (0, 1))
    return [f"{held:>{sizes}}  {share:>{shares}}" for held, share in texts]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
