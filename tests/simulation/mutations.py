"""Every rule of docs/design/replication.md, broken on purpose by a patch of the product's function that keeps it.

`caught_by`: directed scripts that must notice; without one, random seeds must. A rule whose mutation is not noticed is
not tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from shoal.coordinator.logic import failover
from shoal.coordinator.logic import replica_count as replication
from shoal.coordinator.logic.remembered import Answers
from shoal.coordinator.logic.snapshot import Told
from shoal.core import point_change, shard_config
from shoal.core.ids import ReplicaId, Revision, Seq, Term
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.logic import hosting
from shoal.shard_worker.logic.hosting import CreateReplica
from shoal.shard_worker.logic.replication import leadership, primary_read
from shoal.shard_worker.logic.replication import machine as replica_machine
from shoal.shard_worker.logic.replication.events import AppendAsked
from shoal.shard_worker.logic.replication.leadership import Leadership
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.request_memory import RequestMemory, Unheard
from shoal.shard_worker.logic.replication.roles import Idle, Leading
from shoal.shard_worker.storage.folders import snapshot_manifest
from shoal.store.lease_plan import SURE_PART, Hold
from shoal.store.leases import LeaseKeeper
from tests.simulation.move_mutations import MOVE_MUTATIONS
from tests.simulation.mutation import Mutation, attribute

# Replica ids

_absent = hosting._step_of_absent


def _made_again_empty(view: Any, entry: Any, replica: ReplicaId, collection: Any) -> Any:
    if (entry.config.shard, replica) in view.folders:
        return _absent(view, entry, replica, collection)
    return CreateReplica(entry=entry, replica=replica, collection=collection)


# Committing


def _most_of_isr(config: ShardConfig, durable: Mapping[ReplicaId, Seq], joining: Sequence[ReplicaId] = ()) -> Seq:
    if len(config.isr) < config.min_isr:
        return Seq(0)
    reached = sorted(durable.get(member, Seq(0)) for member in {*config.isr, *joining})
    return reached[(len(reached) - 1) // 2]


def _however_small(config: ShardConfig, durable: Mapping[ReplicaId, Seq], joining: Sequence[ReplicaId] = ()) -> Seq:
    return min(durable.get(member, Seq(0)) for member in {*config.isr, *joining})


def _shrinks_at_once(self: Leadership) -> Seq:
    asked = self._proposal.config if self._proposal is not None else self.config
    config = asked if len(asked.isr) < len(self.config.isr) else self.config
    durable: dict[ReplicaId, Seq] = {peer.id: peer.match for peer in self.peers.values()}
    durable[self.config.primary] = self._log.durable_seq
    return shard_config.commit_point(config, durable, asked.isr)


def _joins_when_it_is_done(self: Leadership) -> tuple[ReplicaId, ...]:
    proposal = self._proposal
    return proposal.config.isr if proposal is not None and proposal.in_doubt else ()


def _joins_while_it_is_sure(self: Leadership) -> tuple[ReplicaId, ...]:
    proposal = self._proposal
    return () if proposal is None or proposal.in_doubt else proposal.config.isr


# Terms

_see_append = ReplicaMachine._see_append


def _takes_lower_terms(self: ReplicaMachine, event: AppendAsked) -> Any:
    append = event.append
    if append.to == self.replica and append.term < self.known_term and not isinstance(self.role, Leading):
        return self._take(event)
    return _see_append(self, event)


def _answers_before_it_stores(self: ReplicaMachine, event: AppendAsked) -> Any:
    append = event.append
    if append.to != self.replica or append.term <= self.known_term:
        return _see_append(self, event)
    effects = self._step_down("a later term has begun") if not isinstance(self.role, Idle) else []
    self.known_term = append.term
    return [*effects, self._store_term(append.term), *self._take(event)]


# Reading

_apply_committed = ReplicaMachine._apply_committed


def _applies_what_is_durable(self: ReplicaMachine) -> Any:
    if not isinstance(self.role, Leading):
        self.commit_seq = max(self.commit_seq, self.log.durable_seq)
    return _apply_committed(self)


def _serves_at_once(self: ReplicaMachine) -> bool:
    return isinstance(self.role, Leading) and self.role.config.state is shard_config.ShardState.ACTIVE


_NOTHING_TOLD, _NO_LOG = Told(), LogEnd(term=Term(-1), seq=Seq(-1))


def _leads_anyhow(config: ShardConfig, replica: ReplicaId, registration: Revision) -> bool:
    return config.primary == replica and registration != 0


def _elects_whoever_is_live(config: ShardConfig, workers: Any, told: Told = _NOTHING_TOLD, *, unled_s: float = 0.0) -> ReplicaId | None:
    candidates = failover.candidates_of(config, workers)
    return max(candidates, key=lambda each: told.ends.get(each, _NO_LOG), default=None)


@contextmanager
def _leads_under_any_registration() -> Any:
    with ExitStack() as stack:
        for module in (shard_config, hosting, replica_machine, failover, primary_read):
            stack.enter_context(patch.object(module, "leads", _leads_anyhow))
        yield


@contextmanager
def _snapshots_are_taken_blindly() -> Any:
    # The learner does not notice during the fetch that it no longer needs the snapshot.
    wanted = patch.object(Assignments, "_is_behind", lambda self, shard, replica, primary: True)
    applied = patch.object(snapshot_manifest, "check_keeps_applied", lambda manifest, replica, applied_seq: None)
    with wanted, applied, patch.object(snapshot_manifest, "check_keeps_promises", lambda manifest, replica, log_end: None):
        yield


_next_term = failover.next_term


def _gives_up_for_the_elected(config: ShardConfig, candidate: ReplicaId, workers: Any) -> ShardConfig:
    after = _next_term(config, candidate, workers)
    return shard_config.without_eligible(after) if len(after.isr) >= after.min_isr else after


_heard = Answers.heard


def _remembers_one_round(self: Answers, asked: Any, told: Told, cluster: Any) -> Answers:
    return _heard(Answers(), asked, told, cluster)


@contextmanager
def _everybody_is_spare() -> Any:
    with ExitStack() as stack:
        for module in (shard_config, leadership, replication):
            stack.enter_context(patch.object(module, "is_spare", lambda config, replica: True))
        stack.enter_context(patch.object(replication, "may_go", lambda config, member, snapshot: True))
        yield


def _everyone(config: ShardConfig, workers: Any) -> tuple[ReplicaId, ...]:
    return tuple(member for member in config.members if config.worker_of[member] in workers)


# Updates

_changer = point_change.payload_changer


def _forgetting_changer(change: Any) -> Any:
    return _changer(point_change.ReplacePayload(change.payload) if isinstance(change, point_change.SetPayload) else change)


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        rule="a wiped disk does not pose as the member it was",
        patched="hosting._step_of_absent",
        breaking=attribute(hosting, "_step_of_absent", _made_again_empty),
        caught_by=("wiped_disk_returns",),
    ),
    Mutation(
        rule="inv 1: committed is durable on all of the isr",
        patched="shard_config.commit_point",
        breaking=attribute(leadership, "commit_point", _most_of_isr),
        caught_by=("primary_cut_from_members",),
    ),
    Mutation(
        rule="inv 1: |isr| >= min_isr",
        patched="shard_config.commit_point",
        breaking=attribute(leadership, "commit_point", _however_small),
        caught_by=("primary_cut_from_members",),
    ),
    Mutation(
        rule="inv 2: only isr and elr lead",
        patched="failover.candidates_of",
        breaking=attribute(failover, "candidates_of", _everyone),
        caught_by=("nobody_leads_who_lacks_something",),
    ),
    Mutation(
        rule="a candidate that may have lost its disk waits",
        patched="failover.choose_candidate",
        breaking=attribute(failover, "choose_candidate", _elects_whoever_is_live),
        caught_by=("wiped_candidate_returns_first",),
        starred=False,
    ),
    Mutation(
        rule="who is eligible is given up by the new primary, not by the coordinator",
        patched="failover.next_term",
        breaking=attribute(failover, "next_term", _gives_up_for_the_elected),
        caught_by=("damaged_replica_is_never_heard",),
        starred=False,
    ),
    Mutation(
        rule="nothing is committed beside who is eligible",
        patched="shard_config.may_commit",
        breaking=attribute(shard_config, "may_commit", lambda config: len(config.isr) >= config.min_isr),
        caught_by=("who_is_eligible_is_given_up_in_doubt",),
        starred=False,
    ),
    Mutation(
        rule='silence after "it is not open" elects nobody',
        patched="Answers.heard",
        breaking=attribute(Answers, "heard", _remembers_one_round),
        caught_by=("damaged_replica_is_silent_for_a_moment",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="the eligible are given up only once all of the isr has the no-op",
        patched="Leadership._has_begun",
        breaking=attribute(Leadership, "_has_begun", lambda self: True),
        caught_by=("two_of_three_are_lost_before_the_term_begins",),
        starred=False,
    ),
    Mutation(
        rule="who was not open is asked again",
        patched="Answers.to_ask_again",
        breaking=attribute(Answers, "to_ask_again", lambda self, cluster: {}),
        caught_by=("closed_once_and_unheard_much_later",),
        starred=False,
    ),
    Mutation(
        rule="no tombstone unless as many others have just told that they are open",
        patched="replica_count.may_go",
        breaking=attribute(replication, "may_go", lambda config, member, snapshot: shard_config.is_spare(config, member)),
        caught_by=("fewer_replicas_while_one_does_not_answer",),
        starred=False,
    ),
    Mutation(
        rule="no tombstone unless as many others as are wanted are in sync",
        patched="shard_config.is_spare",
        breaking=_everybody_is_spare,
        caught_by=("successor_cannot_catch_up",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="inv 3: lower terms are refused",
        patched="ReplicaMachine._see_append",
        breaking=attribute(ReplicaMachine, "_see_append", _takes_lower_terms),
        caught_by=("paused_primary_wakes_with_reads",),
    ),
    Mutation(
        rule="inv 3: a term is durable before the answer",
        patched="ReplicaMachine._see_append",
        breaking=attribute(ReplicaMachine, "_see_append", _answers_before_it_stores),
        caught_by=("primary_cut_from_etcd", "elected_replica_crashes"),
    ),
    Mutation(
        rule="inv 6: only committed records are read",
        patched="ReplicaMachine._apply_committed",
        breaking=attribute(ReplicaMachine, "_apply_committed", _applies_what_is_durable),
        caught_by=("primary_cut_from_members",),
    ),
    Mutation(
        rule="inv 6: a primary read sees every acknowledged write",
        patched="ReplicaMachine.serves_writes",
        breaking=attribute(ReplicaMachine, "serves_writes", property(_serves_at_once)),
        caught_by=("new_primary_asked_before_its_noop",),
    ),
    Mutation(
        rule="inv 6: a primary read begins in the term in which it ends",
        patched="primary_read.is_sure",
        breaking=attribute(primary_read, "is_sure", lambda began, fixed: fixed is not None),
        caught_by=("primary_read_begun_before_the_noop",),
    ),
    Mutation(
        rule="a primary read needs a lease held when its result is fixed",
        patched="LeaseKeeper.is_held",
        breaking=attribute(LeaseKeeper, "is_held", lambda self, now: not self.lost),
        caught_by=("paused_primary_wakes_with_reads", "cut_off_primary_is_asked"),
    ),
    Mutation(
        rule="a lease ends by when its renewal was sent",
        patched="Hold.deadline",
        breaking=attribute(Hold, "deadline", property(lambda self: self.tried_at + SURE_PART * self.ttl_s)),
        caught_by=("cut_off_primary_is_asked",),
    ),
    Mutation(
        rule="registered again is elected anew",
        patched="shard_config.leads",
        breaking=_leads_under_any_registration,
        caught_by=("registered_again_while_cut_off",),
    ),
    Mutation(
        rule="shrink waits until it is done",
        patched="Leadership.commit_point",
        breaking=attribute(Leadership, "commit_point", _shrinks_at_once),
        caught_by=("lost_answer_of_a_shrink",),
    ),
    Mutation(
        rule="expand requires acks before it is sent",
        patched="Leadership._joining",
        breaking=attribute(Leadership, "_joining", _joins_when_it_is_done),
        caught_by=("lost_answer_of_an_expansion",),
    ),
    Mutation(
        rule="expand requires acks while it is unknown",
        patched="Leadership._joining",
        breaking=attribute(Leadership, "_joining", _joins_while_it_is_sure),
        caught_by=("lost_answer_of_an_expansion",),
    ),
    Mutation(
        rule="a joiner holds every committed record",
        patched="Leadership._may_join",
        breaking=attribute(Leadership, "_may_join", lambda self, peer, *_: peer.id not in self.config.isr and peer.keeps_up),
        caught_by=("lost_answer_of_an_expansion",),
        starred=False,
    ),
    Mutation(
        rule="a snapshot does not undo a promise",
        patched="snapshot_manifest.check_keeps_*",
        breaking=_snapshots_are_taken_blindly,
        caught_by=("snapshot_overtaken",),
        starred=False,
    ),
    Mutation(
        rule="a write is applied once",
        patched="RequestMemory.look_up",
        breaking=attribute(RequestMemory, "look_up", lambda self, request_id: Unheard()),
        caught_by=("acknowledgement_lost",),
        starred=False,
    ),
    Mutation(
        rule="the filter of an update holds when it is applied",
        patched="point_change.positions_matching",
        breaking=attribute(point_change, "positions_matching", lambda points, filter, between=None: list(range(len(points)))),
        caught_by=("updates_beside_each_other",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="an update keeps what it does not name",
        patched="point_change.payload_changer",
        breaking=attribute(point_change, "payload_changer", _forgetting_changer),
        caught_by=("updates_beside_each_other",),
        starred=False,
        by_seeds=True,
    ),
    *MOVE_MUTATIONS,
)
