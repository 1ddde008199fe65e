"""A move met by one fault at each of its steps: who is harmed, and whether the step's request or its answer is lost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tests.simulation.coordinator import Coordinator
from tests.simulation.network import Mishap
from tests.simulation.scheduler import Process
from tests.simulation.stage import Judge, Stage, asks_to_hand_over, begins_move, hands_over, source_leaves, target_joins
from tests.simulation.violation import hold
from tests.simulation.worker import Worker

AWAY_S = 4.0
PLACES = "a move takes its target in place of its source, or is given up"

STEPS: Mapping[str, Judge] = {
    "begins": begins_move,
    "target joins": target_joins,
    "is asked to hand over": asks_to_hand_over,
    "hands over": hands_over,
    "source leaves": source_leaves,
}
HARMED = ("source", "target", "primary", "coordinator", "etcd", "nobody")
MISHAPS = (None, *Mishap)


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveFault:
    """step, harmed: see STEPS and HARMED; mishap: of the step's transaction, None for none; of_primary: whether the
    primary moves; frozen: whether the harmed process is stopped for a while, not killed.
    """

    step: str
    harmed: str
    mishap: Mishap | None
    of_primary: bool
    frozen: bool

    def __str__(self) -> str:
        mishap = "" if self.mishap is None else f", {self.mishap.name.lower()}"
        verb = "is frozen" if self.frozen else "dies"
        return f"a {'primary' if self.of_primary else 'backup'} moves: {self.step}{mishap}, {self.harmed} {verb}"


def _cells() -> tuple[MoveFault, ...]:
    found = [
        MoveFault(step=step, harmed=harmed, mishap=mishap, of_primary=of_primary, frozen=frozen or harmed == "etcd")
        for (step, harmed, mishap), of_primary in itertools.product(itertools.product(STEPS, HARMED, MISHAPS), (True, False))
        for frozen in ((False,) if harmed in ("nobody", "etcd") else (False, True))
        if of_primary or step not in ("is asked to hand over", "hands over")
    ]
    return tuple(each for each in found if not (each.harmed == "nobody" and each.mishap is None))


CELLS = _cells()


def move_meets(fault: MoveFault, seed: int = 0) -> Stage:
    """Play one cell: the harmed process returns after AWAY_S, and the cluster becomes whole, moved or as it was."""
    stage = Stage(seed)
    stage.until_written(10)
    source, target = (stage.primary if fault.of_primary else stage.backups()[0]), stage.free()[0]
    before, moved = stage.homes(), stage.homes() - {source.me} | {target.me}
    harm = partial(_harm, stage, fault, {"source": source, "target": target}, stage.leader)
    met_at = stage.order(STEPS[fault.step], fault.mishap, harm)
    stage.move(source, target)
    stage.until(lambda: bool(met_at), fault.step)
    stage.run(AWAY_S)
    stage.finish(lambda: hold(stage.homes() in (before, moved), PLACES, f"{fault}: {before} became {stage.homes()}"))
    return stage


def _harm(stage: Stage, fault: MoveFault, workers: Mapping[str, Worker], leader: Coordinator) -> None:
    if fault.harmed == "nobody":
        return
    harmed: Process = {"primary": stage.primary, "coordinator": leader, "etcd": stage.world.etcd, **workers}[fault.harmed]
    if fault.frozen:
        harmed.pause()
    elif isinstance(harmed, Worker):
        harmed.crash(power=True)
    else:
        harmed.kill()
