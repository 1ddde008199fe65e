"""When a read of a shard that is not answered is sent to another replica, too. Pure.

Two reasons. A hedge: it takes longer than 95 of 100 of its kind; hedges are bounded to 1 in READS_A_HEDGE reads, so
that a cluster that is slow for all is not given twice the work. Silence: its worker has answered nothing at all since;
that is rare, needs no bound, and speaks against the worker.
"""

from __future__ import annotations

import math

READS_A_HEDGE = 20
MOST_SAVED = 10
LEAST_HEDGE_S = 0.005
PROBE_HEDGE_S = 0.05
"""A probe is hedged also before there is a measure; breakers let few of them through."""

SILENT_S = 0.5
_SILENT_P95S = 2.0
_LONGER_EACH = 4


class HedgeBudget:
    """Every read earns a part of a hedge; MOST_SAVED hedges can be saved up."""

    def __init__(self) -> None:
        self._reads = 0

    def earn(self) -> None:
        """A read begins."""
        self._reads = min(self._reads + 1, MOST_SAVED * READS_A_HEDGE)

    def spend(self) -> bool:
        """Whether a hedge may be sent; if so, it is paid for."""
        if self._reads < READS_A_HEDGE:
            return False
        self._reads -= READS_A_HEDGE
        return True


def hedge_at(*, sent_at: float, p95: float | None, probe: bool) -> float:
    """When a read that was sent then is to be hedged; infinity for never."""
    if p95 is not None:
        return sent_at + max(LEAST_HEDGE_S, p95)
    return sent_at + PROBE_HEDGE_S if probe else math.inf


def silent_at(*, sent_at: float, heard_at: float, p95: float | None, copies: int = 1) -> float:
    """From when on a worker counts as silent. heard_at: when it last answered anything; copies: of the read that are
    under way.

    The more copies there are, the longer it takes: that several workers are silent is likelier a read that takes long.
    """
    return max(sent_at, heard_at) + max(SILENT_S, _SILENT_P95S * (p95 or 0.0)) * float(_LONGER_EACH ** (copies - 1))
