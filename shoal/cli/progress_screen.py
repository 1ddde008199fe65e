"""How far a plan is, as people and programs read it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shoal.cli.durations import duration
from shoal.cli.output import counted, size
from shoal.cli.plan_screen import names_of, shard_of, way_of
from shoal.cli.worker_names import WorkerNames
from shoal.core.operations import ItemProgress, RebalanceProgress
from shoal.core.rebalance import ItemState, PlannedHandOver, PlannedMove, PlanState

UNDONE = (ItemState.FAILED, ItemState.SKIPPED, ItemState.CANCELLED)
"""States of items that did not happen."""

_SHOWN_WAITING = 3

Item = PlannedMove | PlannedHandOver


class ProgressScreen:
    """Lines and documents about a plan as it goes on. It remembers which states it has told."""

    def __init__(self, names: WorkerNames) -> None:
        self._names = names
        self._told: dict[int, ItemState] = {}

    @classmethod
    def of(cls, progress: RebalanceProgress) -> ProgressScreen:
        """Return the screen of a plan."""
        return cls(names_of(progress.entry.plan))

    @property
    def began(self) -> bool:
        """Return whether it has told anything yet."""
        return bool(self._told)

    def now(self, progress: RebalanceProgress) -> list[str]:
        """Return how far the plan is: a line of summary, one for each item under way, and the next ones."""
        done, waiting = 0, []
        lines = []
        for item, reached in _items(progress):
            done += reached.state is ItemState.DONE
            if reached.state.under_way:
                lines.append(self.line(item, reached))
            elif reached.state is ItemState.WAITING:
                waiting.append(self.line(item, reached))
        hidden = len(waiting) - _SHOWN_WAITING
        more = [f"{hidden} more wait{'s' if hidden == 1 else ''}"] if hidden > 0 else []
        return [self.headline(progress, done), *lines, *waiting[:_SHOWN_WAITING], *more]

    def headline(self, progress: RebalanceProgress, done: int) -> str:
        """Return the plan, its state and how many of its items are done, on one line."""
        paused = ", paused" if progress.entry.state is PlanState.PAUSED else ""
        return f"plan {progress.entry.plan.id}{paused}: {done} of {len(progress.items)} done"

    def news(self, progress: RebalanceProgress) -> list[str]:
        """Return a line for each item whose state is another one than at the last call; what waits is not told."""
        lines = []
        for item, reached in _items(progress):
            if reached.state is not self._told.get(item.number, ItemState.WAITING):
                lines.append(self.line(item, reached, paces=False))
            self._told[item.number] = reached.state
        return lines

    def line(self, item: Item, reached: ItemProgress, *, paces: bool = True) -> str:
        """Return an item, from where to where it goes and how far it is. paces: with bytes and seconds."""
        return f"[{item.number}] {shard_of(item)}  {way_of(item, self._names)}   {self._state(item, reached, paces)}"

    def undone(self, progress: RebalanceProgress) -> list[str]:
        """Return a line for each item that did not happen, with the reason."""
        return [self.line(item, reached) for item, reached in _items(progress) if reached.state in UNDONE]

    def _state(self, item: Item, reached: ItemProgress, paces: bool) -> str:
        why = self._names.in_text(reached.reason)
        match reached.state:
            case ItemState.COPYING if paces:
                return _copying(reached)
            case ItemState.COPYING:
                return f"copying {size(reached.total_bytes)}" if reached.total_bytes else "copying"
            case ItemState.WAITING:
                return f"waits ({why})" if why else "waits"
            case ItemState.WARMING:
                return "has the data, builds its indexes"
            case ItemState.DONE:
                return "moved" if isinstance(item, PlannedMove) else "handed over"
            case _:
                return f"{reached.state}: {why}" if why else str(reached.state)


def _copying(reached: ItemProgress) -> str:
    if not reached.total_bytes:
        return "copying"
    far = f"copying   {size(reached.done_bytes)} / {size(reached.total_bytes)}"
    if reached.bytes_per_s <= 0:
        return far
    left_s = max(0, reached.total_bytes - reached.done_bytes) / reached.bytes_per_s
    return f"{far}   {size(int(reached.bytes_per_s))}/s   {duration(left_s)} left"


def verdict(progress: RebalanceProgress) -> str:
    """Return what became of a plan, on one line."""
    entry = progress.entry
    reached = {item.number: far for item, far in _items(progress)}
    parts = [_share(entry.plan.moves, reached, "moved"), _share(entry.plan.hand_overs, reached, "handed over")]
    counts = [
        f"{count} {state}"
        for state in UNDONE
        if (count := sum(each.state is state for each in progress.items)) and state.value != entry.state.value
    ]
    copied = sum(each.disk_bytes for each in entry.plan.moves if reached[each.number].state is ItemState.DONE)
    waited = f"longest wait of a write {progress.longest_wait_s:.2f} s" if progress.longest_wait_s else ""
    said = ", ".join(each for each in (*parts, *counts, _pace(copied, entry.ended_ms - entry.started_ms), waited) if each)
    return f"{'ended' if counts and entry.state is PlanState.DONE else entry.state}: {said}"


def _share(items: Iterable[Item], reached: dict[int, ItemProgress], done: str) -> str:
    states = [reached[each.number].state for each in items]
    return f"{sum(each is ItemState.DONE for each in states)} of {len(states)} {done}" if states else ""


def _pace(copied: int, took_ms: int) -> str:
    took = f" in {duration(took_ms / 1000)}" if took_ms > 0 else ""
    if not copied:
        return took.strip()
    rate = f" ({size(int(copied / took_ms * 1000))}/s)" if took_ms > 0 else ""
    return f"{size(copied)}{took}{rate}"


def control_words(progress: RebalanceProgress) -> list[str]:
    """Return what was said to a plan, and what of it is still under way, a line for each."""
    entry, screen = progress.entry, ProgressScreen.of(progress)
    lines = [screen.line(item, reached) for item, reached in _items(progress) if reached.state.under_way]
    done = sum(each.state is ItemState.DONE for each in progress.items)
    waiting = sum(each.state is ItemState.WAITING for each in progress.items)
    far = f"{done} of {counted(len(progress.items), 'item')} done"
    match entry.state:
        case PlanState.PAUSED:
            ends = "what is under way ends:" if lines else "nothing is under way"
            return [f"plan {entry.plan.id} is paused, {far}: none of the {waiting} that wait begins, {ends}", *lines]
        case PlanState.RUNS:
            return [f"plan {entry.plan.id} goes on, {far}; `shoal rebalance watch` shows it"]
        case PlanState.CANCELLED:
            given_up = sum(each.state is ItemState.CANCELLED for each in progress.items)
            ends = "; these are finished, which is less work:" if lines else ""
            return [f"plan {entry.plan.id} is cancelled, {far}, {given_up} given up or never begun{ends}", *lines]
        case _:
            return [f"plan {entry.plan.id}: {entry.state}, {far}"]


def progress_document(progress: RebalanceProgress) -> dict[str, Any]:
    """Return how far a plan is as a JSON document; `ended` is true in the last one."""
    entry = progress.entry
    return {
        "plan": entry.plan.id,
        "kind": entry.plan.kind.value,
        "subject": entry.plan.subject,
        "state": entry.state.value,
        "asked_by": entry.asked_by,
        "started_ms": entry.started_ms,
        "ended_ms": entry.ended_ms,
        "longest_wait_s": progress.longest_wait_s,
        "items": [_item_document(item, reached) for item, reached in _items(progress)],
        "ended": progress.over,
    }


def _item_document(item: Item, reached: ItemProgress) -> dict[str, Any]:
    return {
        "n": item.number,
        "what": "move" if isinstance(item, PlannedMove) else "hand-over",
        "shard": shard_of(item),
        "from": item.source,
        "to": item.target,
        "state": reached.state.value,
        "done_bytes": reached.done_bytes,
        "total_bytes": reached.total_bytes,
        "bytes_per_s": reached.bytes_per_s,
        "reason": reached.reason,
    }


def _items(progress: RebalanceProgress) -> Iterator[tuple[Item, ItemProgress]]:
    """Yield each item of a plan with how far it is; one that the coordinator does not tell of waits."""
    reached = {each.number: each for each in progress.items}
    items: tuple[Item, ...] = (*progress.entry.plan.moves, *progress.entry.plan.hand_overs)
    for item in items:
        yield item, reached.get(item.number, ItemProgress(number=item.number, state=ItemState.WAITING))
