"""The router in domain values: what the public services are thin converters over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.administration import Administration, LeaderCalls
from router.finder import Finder, Names
from router.metrics import UNMETERED, ShardCallMeter
from router.overview import Overview
from router.reads import Reads
from router.scatter import Scatter
from router.view import Clock, View
from router.workers import Workers
from router.writes import Writes
from shoal.core.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Router:
    """Everything a client can ask for."""

    reads: Reads
    writes: Writes
    administration: Administration
    overview: Overview
    limits: Limits


def make_router(
    *,
    view: View,
    workers: Workers,
    names: Names,
    leader: LeaderCalls,
    clock: Clock,
    new_request_id: Callable[[], str],
    limits: Limits,
    read_patience_s: float,
    status_timeout_s: float,
    meter: ShardCallMeter = UNMETERED,
) -> Router:
    """A router over its parts. new_request_id: unique texts; clock: seconds, never jumping."""
    finder = Finder(view=view, names=names, clock=clock, limits=limits)
    scatter = Scatter(view=view, workers=workers, clock=clock, meter=meter)
    return Router(
        reads=Reads(view=view, finder=finder, scatter=scatter, clock=clock, limits=limits, patience_s=read_patience_s),
        writes=Writes(view=view, finder=finder, scatter=scatter, clock=clock, limits=limits, client=new_request_id()),
        administration=Administration(
            view=view,
            finder=finder,
            scatter=scatter,
            leader=leader,
            clock=clock,
            limits=limits,
            new_request_id=new_request_id,
            patience_s=read_patience_s,
        ),
        overview=Overview(view=view, workers=workers, status_timeout_s=status_timeout_s),
        limits=limits,
    )
