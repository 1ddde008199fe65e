"""What operators know beside the state of the cluster: drains, absences, idle workers, moves under way. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shoal.cli.durations import duration
from shoal.cli.worker_names import WorkerNames
from shoal.client.operation_verbs import is_drained
from shoal.core.health import WorkerCondition
from shoal.core.operations import ItemProgress, RebalanceProgress, WorkerStanding
from shoal.core.rebalance import ItemState


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorsView:
    """What the leading coordinator says of workers and of the plan that runs; empty as far as it did not answer."""

    workers: Mapping[str, WorkerStanding] = field(default_factory=dict)
    progress: RebalanceProgress | None = None

    def state_of(self, worker: str, state: WorkerCondition) -> str:
        """Return the state of a worker in words: whether it is up, what drains it, when its replicas are replaced."""
        standing = self.workers.get(worker)
        if standing is None:
            return str(state)
        if state is WorkerCondition.DOWN:
            return f"{state}, {replaced_words(standing)}" if standing.replicas else str(state)
        drained = drain_words(standing)
        return f"{state}, {drained}" if drained else str(state)

    def replaced(self, worker: str) -> str:
        """Return when the replicas of a worker that is down are replaced, in words, "" if that is not known."""
        standing = self.workers.get(worker)
        return replaced_words(standing) if standing is not None and standing.replicas else ""

    def moving(self, names: WorkerNames) -> dict[tuple[str, int], str]:
        """Return how far the move of each shard is, in words, by collection and number."""
        if self.progress is None or self.progress.over:
            return {}
        reached = {each.number: each for each in self.progress.items if each.state.under_way}
        moves = [each for each in self.progress.entry.plan.moves if each.number in reached]
        return {
            (each.collection, each.shard.number): f"{names[each.source]} moving to {names[each.target]}, {_far(reached[each.number])}"
            for each in moves
        }

    def hints(self, names: WorkerNames) -> list[str]:
        """Return what could be better, and the command for it."""
        live = [each for each in self.workers.values() if each.state is WorkerCondition.UP and each.drain is None]
        idle = [names[each.worker] for each in live if not each.replicas]
        plan_runs = self.progress is not None and not self.progress.over
        if not idle or plan_runs or max((each.replicas for each in live), default=0) < 2:
            return []
        some = f"worker {idle[0]} holds" if len(idle) == 1 else f"workers {', '.join(idle)} hold"
        return [f"{some} nothing: `shoal rebalance plan` shows what to move there"]


def drain_words(standing: WorkerStanding) -> str:
    """Return what the drain of a worker does, in a word or two, "" if it is not drained."""
    if standing.drain is None:
        return ""
    if standing.drain.primaries_only:
        return "leads nothing" if is_drained(standing) else "hands over"
    return "drained" if is_drained(standing) else "draining"


def replaced_words(standing: WorkerStanding) -> str:
    """Return when the replicas of a worker that is down are replaced, in words."""
    return "being replaced" if standing.replaced_in_s is None else f"replaced in {duration(standing.replaced_in_s)}"


def _far(reached: ItemProgress) -> str:
    if reached.state is ItemState.COPYING and reached.total_bytes:
        return f"{100 * min(reached.done_bytes, reached.total_bytes) // reached.total_bytes} %"
    return "builds its indexes" if reached.state is ItemState.WARMING else str(reached.state)


def view_of(workers: Sequence[WorkerStanding], progress: RebalanceProgress | None) -> OperatorsView:
    """Return the view of what the coordinator answered."""
    return OperatorsView(workers={each.worker: each for each in workers}, progress=progress)
