"""`python -m tests.simulation.mutate` breaks every rule of the mutation table and prints what noticed.

Exit status 1 if a mutation was not noticed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table

from tests.simulation.mutation import Mutation
from tests.simulation.mutations import MUTATIONS
from tests.simulation.patience import short_patience
from tests.simulation.product_logs import only_defects
from tests.simulation.scripts import SCRIPTS
from tests.simulation.seeds import run_seed
from tests.simulation.violation import Violation

SCRIPT_SEEDS, RANDOM_SEEDS = range(6), range(200)
WIDTH = 200


@dataclass(frozen=True, slots=True)
class Catch:
    """What noticed a mutation: a script or a random seed, and the violated invariant."""

    by: str
    invariant: str


def catch_by_scripts(mutation: Mutation, seeds: range = SCRIPT_SEEDS) -> Catch | None:
    """Return the catch of the first directed script of the mutation that notices it."""
    return _first(_scripts(mutation, seeds))


def catch_by_seeds(mutation: Mutation, seeds: range = RANDOM_SEEDS) -> Catch | None:
    """Return the catch of the first random seed that notices it."""
    return _first((f"seed {seed}", partial(_seed, seed)) for seed in seeds)


def catch(mutation: Mutation) -> Catch | None:
    """Return what notices the mutation: scripts first, and seeds if they must notice it, too. None if nothing does."""
    with mutation.breaking():
        by_script = catch_by_scripts(mutation)
        if by_script is not None and not mutation.by_seeds:
            return by_script
        by_seed = catch_by_seeds(mutation)
        return Catch(f"{by_script.by}, {by_seed.by}", by_seed.invariant) if by_script is not None and by_seed is not None else by_seed


def _first(attempts: Iterator[tuple[str, Callable[[], str | None]]]) -> Catch | None:
    found = ((name, attempt()) for name, attempt in attempts)
    return next((Catch(name, invariant) for name, invariant in found if invariant is not None), None)


def _scripts(mutation: Mutation, seeds: range) -> Iterator[tuple[str, Callable[[], str | None]]]:
    for name, seed in itertools.product(mutation.caught_by, seeds):
        yield f"{name}({seed})", partial(_script, name, seed)


def _script(name: str, seed: int) -> str | None:
    try:
        with only_defects(), short_patience():
            SCRIPTS[name](seed)
    except Violation as violation:
        return violation.invariant
    except AssertionError as error:
        return f"the product asserts: {error}"
    return None


def _seed(seed: int) -> str | None:
    return run_seed(seed).invariant


def main() -> int:
    """Print the table."""
    console = Console(width=WIDTH)
    table = Table("rule", "patched", "noticed by", "invariant that fell", title="mutations (* : starred in the design)")
    survivors = 0
    with console.status("breaking rules") as status:
        for mutation in MUTATIONS:
            status.update(mutation.rule)
            caught = catch(mutation)
            survivors += caught is None
            seen = ("[bold red]nothing[/]", "") if caught is None else (caught.by, caught.invariant)
            table.add_row(mutation.rule + " *" * mutation.starred, mutation.patched, *seen)
    console.print(table)
    console.print(f"{len(MUTATIONS)} rules broken, {survivors} unnoticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
