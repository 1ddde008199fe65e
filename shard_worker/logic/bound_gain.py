"""Decide whether lower bounds of distances save time for a set of rows, and what one query may cost. Pure.

A bound is computed from WIDTH numbers of each row instead of all `dim` (see shoal.shard_worker.index.sketch). The rows
that it cannot rule out are then compared one by one. Costs are counted in shares of comparing all rows in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 64
"""Numbers of a row that a bound is computed from: coordinates along WIDTH - 1 axes, and the length of the rest.

Fashion-MNIST, 30,000 rows of 784: 32 leave 2.6 % of the rows, 64 leave 1.1 %, 128 leave 0.5 %; 64 cost least.
"""

LEAST_RATIO = 3
"""Rows have at least this many times WIDTH dimensions; with fewer, a bound costs too large a share of a comparison."""

LEAST_FLOATS = 1 << 20
"""Sets of rows with fewer floats are compared in less time than a bound takes to set up: about 0.1 ms."""

SCATTERED_COST = 3.0
"""Comparing one row at a random place costs this many times one row of a pass."""

_PAYS_BELOW = 0.75
_FIRST_SEARCHES = 8
_REMEMBERED_SEARCHES = 64

RESTED_SEARCHES = 4_096
"""After a bound did not pay, this many searches compare all rows before it is tried again."""


def may_pay(*, rows: int, dim: int) -> bool:
    """Return whether bounds can save time for `rows` rows of `dim` dimensions."""
    return dim >= LEAST_RATIO * WIDTH and rows * dim >= LEAST_FLOATS


def most_left(rows: int) -> int:
    """Return how many of `rows` rows may be left by the bound of one query; with more, a pass over all costs less."""
    return int(rows / SCATTERED_COST)


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundGain:
    """What bounds have gained in the last searches of one set of rows.

    searches: number of them; cost: mean cost of one, as a share of comparing all rows.
    """

    searches: int = 0
    cost: float = 0.0

    @property
    def pays(self) -> bool:
        """Return whether bounds save time; True until there were enough searches to tell."""
        return self.searches < _FIRST_SEARCHES or self.cost < _PAYS_BELOW

    def after(self, *, left: int, rows: int, dim: int) -> BoundGain:
        """Return it after one more search, whose bound left `left` of `rows` rows."""
        spent = 1.0 if left > most_left(rows) else SCATTERED_COST * left / rows
        searches = min(self.searches + 1, _REMEMBERED_SEARCHES)
        cost = WIDTH / dim + spent
        return BoundGain(searches=searches, cost=self.cost + (cost - self.cost) / searches)
