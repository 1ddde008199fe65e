"""Checks moves and hand-overs in every change of a shard's configuration when the store makes it, and counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, ShardId, Term
from shoal.core.rebalance import PlanState
from shoal.core.shard_config import Move, ShardConfig, keepers
from tests.simulation.violation import hold

BEGIN = "a move begins for a plan that runs, of a replica in sync, to a worker that may hold it"
END = "a move ends with its target in place of its source, or with its source"
ONE = "a shard has one move at a time"
HAND_OVER = "another leads only after the primary's lease has ended, or after it has stepped down"
CLEARED = "a new term has no successor"
SETTLED = "a request to hand over is not made and taken back again and again"
MOST_WITHDRAWN = 12
"""Requests to hand over that may be taken back in one term: each time that a successor or its worker is lost."""


class MoveChecks:
    """The moves and hand-overs of one shard. stepped_down: primaries that did so in order to hand over, with the
    term.
    """

    def __init__(self) -> None:
        self.stepped_down: set[tuple[ReplicaId, Term]] = set()
        self.counts: Counter[str] = Counter()
        self._withdrawn: Counter[Term] = Counter()
        self.orphans: set[ReplicaId] = set()
        """Replicas whose folders may stay although no configuration names them."""

    def see(self, before: ShardConfig, after: ShardConfig, cluster: ClusterMap) -> None:
        """Check one change. cluster: the map after it."""
        self._see_names(before, after, cluster)
        if before.move is None and after.move is not None:
            self._check_begin(before, after, after.move, cluster)
        elif before.move is not None and after.move is None:
            self._check_end(before, after, before.move, cluster)
        elif before.move is not None and after.move is not None:
            self._check_same(before, after, before.move, after.move)
        self._check_term(before, after, cluster)

    def _see_names(self, before: ShardConfig, after: ShardConfig, cluster: ClusterMap) -> None:
        for replica in set(before.worker_of) - set(after.worker_of):
            # It began anew under another id, by a swap whose answer may be lost; or its worker is gone for good.
            if replica not in before.leaving or before.worker_of[replica] not in cluster.workers:
                self.orphans.add(replica)

    def _check_begin(self, before: ShardConfig, after: ShardConfig, move: Move, cluster: ClusterMap) -> None:
        self.counts["moves begun"] += 1
        plan, home = cluster.rebalance, after.worker_of.get(move.target)
        wants = plan is not None and plan.state is PlanState.RUNS and any(each.target == home for each in plan.plan.moves)
        hold(wants, BEGIN, f"{move}: the plan is {plan}")
        sound = move.source in keepers(before, move.target) and move.target in after.learners and move.target not in before.worker_of
        hold(sound and len(keepers(before, move.target)) >= before.rf, BEGIN, f"{move} begins in {before}")
        hold(home is not None and home not in before.worker_of.values(), BEGIN, f"{home} holds a replica already: {before}")
        assert home is not None
        fit = home in cluster.workers and home not in cluster.drains and home not in cluster.forgotten
        hold(fit, BEGIN, f"{home} is gone, drained or forgotten")
        homes = [cluster.workers.get(after.worker_of[member]) for member in (*before.members, move.target)]
        hold(all(each is None or each.can_move for each in homes), BEGIN, f"a program knows no moves: {homes}")

    def _check_end(self, before: ShardConfig, after: ShardConfig, move: Move, cluster: ClusterMap) -> None:
        leaves = {*after.leaving} - {*before.leaving}
        if move.source in leaves:
            done = move.target in after.isr and move.source != after.primary and len(keepers(after, move.source)) >= after.rf
            hold(done, END, f"{move} ends in {after}")
            self.counts["moves done"] += 1
        elif move.target in leaves:
            spare = move.target in before.learners or len(keepers(after, move.target)) >= after.rf
            hold(spare and move.target != after.primary, END, f"{move} is given up in {after}")
            cancelled = cluster.rebalance is not None and cluster.rebalance.state is PlanState.CANCELLED
            self.counts["moves cancelled" if cancelled else "moves given up"] += 1
        else:
            self.counts["moves ended otherwise"] += 1

    def _check_same(self, before: ShardConfig, after: ShardConfig, was: Move, now: Move) -> None:
        if was != now:
            pairs = ((was.source, now.source), (was.target, now.target))
            anew = [(old, new) for old, new in pairs if old != new]
            same = all(old not in after.worker_of and after.worker_of.get(new) == before.worker_of.get(old) for old, new in anew)
            hold(same and len(anew) == 1, ONE, f"{was} becomes {now}")

    def _check_term(self, before: ShardConfig, after: ShardConfig, cluster: ClusterMap) -> None:
        self.counts["hand-overs asked"] += after.successor is not None and after.successor != before.successor
        self._withdrawn[after.term] += after.term == before.term and before.successor is not None and after.successor is None
        hold(self._withdrawn[after.term] <= MOST_WITHDRAWN, SETTLED, f"{self._withdrawn[after.term]} times in term {after.term}: {after}")
        if after.term > before.term and after.primary != before.primary:
            hold(after.successor is None, CLEARED, f"{after}")
        if is_hand_over(before, after, cluster):
            hold((before.primary, before.term) in self.stepped_down, HAND_OVER, f"{before.primary} still leads, {after.primary} begins")
            self.counts["hand-overs done"] += 1


def is_hand_over(before: ShardConfig, after: ShardConfig, cluster: ClusterMap) -> bool:
    """Return whether another replica begins to lead while the primary's registration lives."""
    home = before.primary_worker
    entry = None if home is None else cluster.workers.get(home)
    lives = entry is not None and entry.registration == before.primary_reg
    return after.term > before.term and after.primary != before.primary and lives


def unnamed_folders(
    shard: ShardId, config: ShardConfig, folders: Set[tuple[ShardId, ReplicaId]], orphans: Set[ReplicaId]
) -> list[ReplicaId]:
    """Return the replicas of a worker's folders that no configuration names, apart from orphans."""
    return sorted(replica for of, replica in folders if of == shard and replica not in config.worker_of and replica not in orphans)
