"""Checks every change of a shard's configuration when the store makes it (invariants 2, 4, 7)."""

from __future__ import annotations

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId
from shoal.core.shard_config import ShardConfig, ShardEntry, may_lead
from tests.simulation.committed import CommittedLog
from tests.simulation.holdings import Holdings
from tests.simulation.move_checks import MoveChecks, is_hand_over
from tests.simulation.violation import hold

LEGAL = "inv 7: configurations change by the rules"
SPARED = "inv 8: data is deleted only where as many others as are wanted are in sync"
LAST = "inv 8: the last intact replica that may lead stays one"


class Configurations:
    """The history of one shard's configuration, by epoch."""

    def __init__(self, committed: CommittedLog, holdings: Holdings) -> None:
        self._committed, self._holdings = committed, holdings
        self.by_epoch: dict[Revision, ShardConfig] = {}
        self.newest: ShardEntry | None = None
        self.moves = MoveChecks()
        self.elections = self.failovers = self.expansions = self.shrinks = self.raised = 0

    def see(self, shard: ShardId, entry: ShardEntry | None, cluster: ClusterMap) -> None:
        """Take the entry that the store holds now. cluster: the map in which it is."""
        before = self.newest
        if entry is None or (before is not None and before.epoch == entry.epoch):
            return
        self.newest = entry
        self.by_epoch[entry.epoch] = entry.config
        self._check_form(entry.config)
        for member in (*entry.config.isr, *entry.config.elr):
            self._holdings.check_holds(member, self._committed, self._committed.last_seq, f"it may lead by epoch {entry.epoch}")
        if before is not None:
            self._check_change(before.config, entry.config)
            self.moves.see(before.config, entry.config, cluster)
            self._count(before.config, entry.config, handed_over=is_hand_over(before.config, entry.config, cluster))

    def check_member(self, member: ReplicaId, why: str) -> None:
        """Raise Violation if a replica that may lead lacks a committed record."""
        if self.newest is not None and may_lead(self.newest.config, member):
            self._holdings.check_holds(member, self._committed, self._committed.last_seq, why)

    def _check_form(self, config: ShardConfig) -> None:
        groups = (*config.isr, *config.elr, *config.learners)
        hold(len(set(groups)) == len(groups), LEGAL, f"a replica is in two groups: {config}")
        hold(set(groups) <= set(config.worker_of), LEGAL, f"a member lives nowhere: {config}")
        homes = list(config.worker_of.values())
        hold(len(set(homes)) == len(homes), LEGAL, f"two replicas on one worker: {config}")
        hold(config.primary in config.isr or config.primary_reg == 0, LEGAL, f"the primary is not in the isr: {config}")

    def _check_change(self, before: ShardConfig, after: ShardConfig) -> None:
        hold(after.term in (before.term, before.term + 1), LEGAL, f"term {before.term} -> {after.term}")
        eligible = {*before.isr, *before.elr}
        if after.term == before.term:
            hold(after.primary == before.primary, "inv 4: a term has one primary", f"{before.primary} -> {after.primary}")
            kept = after.primary_reg in (before.primary_reg, 0)
            hold(kept, "inv 4: a term has one life of a primary", f"{before.primary_reg} -> {after.primary_reg}")
        elif before.state == after.state == "active":
            hold(after.primary in eligible, "inv 2: only isr and elr lead", f"{after.primary} was elected from {sorted(eligible)}")
        if "active" in (before.state, after.state):
            # Before it is active, nothing was ever acknowledged.
            self._check_tombstones(before, after)
        joined = {*after.isr, *after.elr} - eligible
        # An expansion. Another check reads the joiner's disk: it must hold every committed record.
        hold(len(joined) <= 1, LEGAL, f"{sorted(joined)} joined at once")

    def _check_tombstones(self, before: ShardConfig, after: ShardConfig) -> None:
        """Check the members that get a tombstone now, and the members of which only the folder is left now."""
        nothing_else = [each for each in after.leaving if each not in (*after.members, after.primary) and each in before.members]
        for member in {*after.leaving} - {*before.leaving} | {*nothing_else}:
            keep = [each for each in after.isr if each != member and each not in after.leaving]
            hold(len(keep) >= after.rf, SPARED, f"{member} of {after.leaving} goes, in sync are {after.isr} of {after.rf}")
        intact_before = self._intact({*before.isr, *before.elr})
        intact_now = self._intact({*after.isr, *after.elr})
        hold(not intact_before or bool(intact_now), LAST, f"of {before} nobody is left in {after}, {intact_before} had everything")

    def _intact(self, members: set[ReplicaId]) -> list[ReplicaId]:
        return sorted(each for each in members if self._holdings.has_everything(each, self._committed))

    def _count(self, before: ShardConfig, after: ShardConfig, *, handed_over: bool) -> None:
        self.elections += after.term > before.term
        self.failovers += after.term > before.term and after.primary != before.primary and not handed_over
        self.raised += after.term > before.term and after.primary_reg == before.primary_reg
        if after.term == before.term:
            self.expansions += len(set(after.isr) - set(before.isr))
            self.shrinks += len(set(before.isr) - set(after.isr))
