"""Builds the router from its parts. It works with domain values; the public services only convert messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shoal.core.deadline import Clock
from shoal.core.limits import Limits
from shoal.router.cluster.finder import Finder, Names
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Tended, Workers
from shoal.router.shards.every_replica import EveryReplica
from shoal.router.shards.express import Express
from shoal.router.shards.group_reads import GroupReads
from shoal.router.shards.hops import Hops
from shoal.router.shards.joined_searches import JoinedSearches
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.replica_reads import ReplicaReads
from shoal.router.shards.scatter import Scatter
from shoal.router.shards.serving import Serving
from shoal.router.shards.text_asks import TextReads
from shoal.router.shards.traffic import Traffic
from shoal.router.shards.under_way import UnderWay
from shoal.router.verbs.administration import Administration, LeaderCalls
from shoal.router.verbs.fused_legs import FusedLegs
from shoal.router.verbs.fused_reads import FusedReads
from shoal.router.verbs.fused_run import FusedParts
from shoal.router.verbs.operations import Operations
from shoal.router.verbs.overview import Overview
from shoal.router.verbs.points_by_id import PointsById
from shoal.router.verbs.reads import Reads
from shoal.router.verbs.text_marks import TextMarks
from shoal.router.verbs.updates import Updates
from shoal.router.verbs.writes import Writes
from shoal.runtime.fair_pool import FairPool


@dataclass(frozen=True, kw_only=True)
class Router:
    """All operations of a router. tended: parts whose `keep` has to be called with each new map."""

    reads: Reads
    fused: FusedReads
    writes: Writes
    updates: Updates
    administration: Administration
    operations: Operations
    overview: Overview
    limits: Limits
    tended: tuple[Tended, ...]
    conversions: FairPool


def make_router(
    *,
    view: ClusterView,
    workers: Workers,
    names: Names,
    leader: LeaderCalls,
    clock: Clock,
    new_request_id: Callable[[], str],
    limits: Limits,
    read_patience_s: float,
    status_timeout_s: float,
    conversions: FairPool,
    meter: ShardCallMeter = UNMETERED,
    insecure: bool = False,
    not_after: Callable[[], int | None] = lambda: None,
) -> Router:
    """Return a router made of these parts. new_request_id: returns a unique text. clock: seconds, never jumps.
    conversions: pool that reads and checks long filters. insecure, not_after: see Overview.
    """
    finder = Finder(view=view, names=names, limits=limits)
    under_way, traffic = UnderWay(), Traffic(clock=clock, meter=meter)
    reads = ReplicaReads(workers=workers, under_way=under_way, traffic=traffic, clock=clock, meter=meter)
    scatter = Scatter(view=view, workers=workers, replicas=reads, under_way=under_way, meter=meter)
    groups = GroupReads(view=view, workers=workers, under_way=under_way, traffic=traffic, clock=clock, meter=meter)
    searches = JoinedSearches(groups=groups, clock=clock, meter=meter)
    every = EveryReplica(view=view, workers=workers, scatter=scatter, under_way=under_way, stats_timeout_s=status_timeout_s)
    express = Express(view=view, workers=workers, traffic=traffic, limits=limits, meter=meter)
    hops = Hops(view=view, workers=workers, groups=groups, searches=searches, limits=limits)
    by_vectors = Reads(
        view=view, finder=finder, scatter=scatter, express=express, hops=hops, searches=searches,
        conversions=conversions, clock=clock, limits=limits, patience_s=read_patience_s,
    )  # fmt: skip
    writes = Writes(view=view, finder=finder, scatter=scatter, clock=clock, limits=limits, client=new_request_id(), conversions=conversions)
    return Router(
        reads=by_vectors,
        fused=FusedReads(
            finder=finder, parts=_fused_parts(view, by_vectors, groups, scatter, conversions, clock, limits), patience_s=read_patience_s
        ),
        writes=writes,
        updates=Updates(
            view=view, finder=finder, scatter=scatter, clock=clock, limits=limits, next_id=writes.next_id, conversions=conversions
        ),
        administration=Administration(
            view=view,
            finder=finder,
            scatter=scatter,
            replicas=every,
            serving=Serving(view=view, scatter=scatter, clock=clock),
            leader=leader,
            clock=clock,
            limits=limits,
            new_request_id=new_request_id,
            patience_s=read_patience_s,
        ),
        operations=Operations(view=view, leader=leader, clock=clock, new_request_id=new_request_id),
        overview=Overview(view=view, workers=workers, status_timeout_s=status_timeout_s, insecure=insecure, not_after=not_after),
        limits=limits,
        tended=(under_way, traffic, searches),
        conversions=conversions,
    )


def _fused_parts(
    view: ClusterView, reads: Reads, groups: GroupReads, scatter: Scatter, conversions: FairPool, clock: Clock, limits: Limits
) -> FusedParts:
    return FusedParts(
        legs=FusedLegs(view=view, reads=reads, texts=TextReads(groups), conversions=conversions, clock=clock),
        points=PointsById(view=view, scatter=scatter, limits=limits),
        marks=TextMarks(view=view, scatter=scatter),
        conversions=conversions,
        clock=clock,
        limits=limits,
    )
