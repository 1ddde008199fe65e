"""The primary's half of replication: decides what to send to each member next, and which change of the isr to request.

Performs nothing. It begins with the no-op of a term and ends when the machine drops it; it keeps nothing across terms.
Requests at most one swap of the configuration at a time. From before a swap is sent until its outcome is certain, a
record counts as committed only if it is on the isr before the swap and on the isr after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from shoal.core.ids import ReplicaId, Revision, Seq, Term, WorkerId
from shoal.core.shard_config import ShardConfig, commit_point, expanded, is_spare, keepers, may_shrink, shrunk, without_eligible
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, Diverged, LogMatches, NoRoom
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.progress import NeedsSnapshot, OtherHistory, Peer, Probing, Replicating
from shoal.shard_worker.logic.replication.record import Record

BATCH_BYTES = 4 * 1024 * 1024
HEARTBEAT_MS = 500
QUIET_HEARTBEAT_MS = 2_000
"""Pause between heartbeats to a member of the isr that has everything, in a shard without writes.

Most shards have no writes at most times. The next write asks the member at once, so a longer pause only delays that an
idle shard notices that a member is silent.
"""

RETRY_MS = 200
SHRINK_AFTER_MS = 1_500
"""A member that makes no progress for this long is removed from the isr. The time begins with the first append without
progress.
"""

STALLED_MS = 3_000
"""If a needed member makes no progress for this long, new writes are refused instead of kept waiting."""

SWAP_AGAIN_MS = 1_000

REPLAY_BYTES = 8 * 1024 * 1024
"""A learner that would be sent more of the log than this, and has less than it lacks, takes a snapshot instead.

A replica that applies a long log builds its indexes several times meanwhile, which slows down all searches on its
worker. Whoever has most of the records is still sent the rest.
"""


class SwapOutcome(StrEnum):
    """The known outcome of a compare-and-swap.

    REJECTED: the configuration had changed since it was read; NOT_DONE: it certainly did not happen, for another
    reason; UNKNOWN: it may have happened, or may still happen.
    """

    DONE = "done"
    REJECTED = "rejected"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class SendAppend:
    """Send `append` to the member's worker, once; then report PeerAnswered or PeerSilent with this serial."""

    worker: WorkerId
    serial: int
    append: Append


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLog:
    """Read records from the log for a member, from from_seq on, at least one, up to max_bytes; then report LogRead."""

    peer: ReplicaId
    from_seq: Seq
    max_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapConfig:
    """Put `config` if the epoch is still `base` and the primary's worker still has config.primary_reg; report
    SwapEnded.
    """

    base: Revision
    config: ShardConfig


LeadershipEffect = SendAppend | ReadLog | SwapConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A requested swap.

    in_doubt: an attempt ended with an unknown outcome; under_way: an attempt has not ended.
    """

    base: Revision
    config: ShardConfig
    asked_ms: int
    in_doubt: bool = False
    under_way: bool = True


class Leadership:
    """One term of a primary. `log` belongs to the machine. Used by one thread."""

    def __init__(
        self,
        *,
        config: ShardConfig,
        epoch: Revision,
        noop: Seq,
        log: LogView,
        serials: Iterator[int],
        replay_bytes: int = REPLAY_BYTES,
    ) -> None:
        """replay_bytes: as REPLAY_BYTES."""
        self.config, self.epoch, self.noop = config, epoch, noop
        self._log, self._serials, self._replay_bytes = log, serials, replay_bytes
        self._by_log: set[ReplicaId] = set()
        """Learners that are sent the log, however long it is: this worker had no room for a snapshot of its replica."""
        self._proposal: Proposal | None = None
        self._outdated = False
        self._swap_from_ms = 0
        self.peers: dict[ReplicaId, Peer] = {}
        self._meet_members()

    # What is committed

    def commit_point(self) -> Seq:
        """Return the seq up to which all records are now known to be committed; 0 if nothing can be committed."""
        durable: dict[ReplicaId, Seq] = {peer.id: peer.match for peer in self.peers.values()}
        durable[self.config.primary] = self._log.durable_seq
        return commit_point(self.config, durable, self._joining())

    def _joining(self) -> tuple[ReplicaId, ...]:
        """Return the isr of a requested swap whose outcome is not certain: its members count for commits, too."""
        return () if self._proposal is None else self._proposal.config.isr

    def _needed(self) -> list[Peer]:
        return [self.peers[each] for each in sorted({*self.config.isr, *self._joining()}) if each in self.peers]

    # Whether it can take writes

    def obstacle(self, now_ms: int) -> str | None:
        """Return why no write could be committed soon, as text; None if there is no known reason."""
        config = self.config
        if len(config.isr) < config.min_isr:
            return f"{len(config.isr)} replicas are in sync, {config.min_isr} must be"
        stuck = next((peer for peer in self._needed() if peer.waited_ms(now_ms) >= STALLED_MS), None)
        return None if stuck is None else f"replica {stuck.id} on worker {stuck.worker} does not answer and cannot leave the isr"

    def no_room(self) -> NoRoom | None:
        """Return why a member that upserts need has no room for them; None if all have room."""
        full = next((peer for peer in self._needed() if peer.no_room is not None), None)
        if full is None or full.no_room is None:
            return None
        return replace(full.no_room, reason=f"worker {full.worker}: {full.no_room.reason}")

    def furthest_behind(self) -> int:
        """Return how many records the member that is furthest behind lacks."""
        return max((self._log.last_seq - peer.match for peer in tuple(self.peers.values())), default=0)

    @property
    def has_peers(self) -> bool:
        """Return whether there are other members to send records to."""
        return bool(self.peers)

    def is_quiet(self, commit_seq: Seq) -> bool:
        """Return whether nothing is under way and nothing is due but heartbeats, so that the time matters little."""
        if self._proposal is not None or self._log.last_seq != commit_seq:
            return False
        return not any(peer.under_way or not self._is_quiet(peer, commit_seq) for peer in self.peers.values())

    def needed_from(self) -> Seq:
        """Return the seq of the first record that commits need at some member. The log must keep the records from it
        on.
        """
        return Seq(min((peer.match + 1 for peer in self._needed()), default=self._log.last_seq + 1))

    def wanted_from(self) -> Seq:
        """Return the seq of the first record that some member lacks and will be sent soon, perhaps after its snapshot.

        The log should keep the records from there on.
        """
        return Seq(min((self.needed_from(), *(each for peer in self.peers.values() if (each := _wants_from(peer)) is not None))))

    # Events

    def follow(self, config: ShardConfig, epoch: Revision) -> None:
        """Take a newer configuration of the same term.

        A swap that was requested on an older one has happened by now, or never will.
        """
        if epoch <= self.epoch:
            return
        self.config, self.epoch = config, epoch
        self._outdated = False
        if self._proposal is not None and self._proposal.base < epoch:
            self._proposal = None
        self._meet_members()

    def answered(self, peer_id: ReplicaId, serial: int, answer: AppendAnswer) -> None:
        """Take a member's answer: LogMatches or Diverged."""
        peer = self._peer_of(peer_id, serial)
        if peer is None:
            return
        match answer:
            case LogMatches(through=through, no_room=no_room):
                matched = peer.matched(through, no_room)
                self.peers[peer_id] = self._rather_by_snapshot(matched) if isinstance(peer.progress, Probing) else matched
            case Diverged(summary=summary):
                equal = self._log.agrees_until(summary)
                parted = peer.parted(last_seq=summary.last_seq, equal=equal, ours=self._log.last_seq)
                # Whoever took a snapshot gets the rest from the log, however much was written meanwhile.
                self.peers[peer_id] = parted if isinstance(peer.progress, NeedsSnapshot) else self._rather_by_snapshot(parted)
            case _:
                raise AssertionError(f"a leadership does not take {answer}")

    def refused_snapshot(self) -> None:
        """Note that this worker had no room for a snapshot: send the log instead, as far as it reaches back."""
        for peer in list(self.peers.values()):
            if isinstance(peer.progress, NeedsSnapshot) and self._log.reaches(peer.progress.next):
                self._by_log.add(peer.id)
                self.peers[peer.id] = peer.has_read(found=True)

    def _rather_by_snapshot(self, peer: Peer) -> Peer:
        """Return a learner as one that needs a snapshot if it lacks too much to be sent all of it. See REPLAY_BYTES."""
        if not isinstance(peer.progress, Replicating) or peer.id in self._by_log or peer.id in self._joining():
            return peer
        following, applied = peer.progress.next, self._log.applied_seq
        lacks_most = self._log.last_seq - following + 1 > following - 1
        may_be_long = peer.id in self.config.learners and lacks_most and self._log.reaches(following) and following <= applied
        # A snapshot that is made from now on holds all that is applied now.
        return peer.needs_snapshot(Seq(applied + 1)) if may_be_long and self._log.bytes_from(following) > self._replay_bytes else peer

    def silent(self, peer_id: ReplicaId, serial: int, *, gone: bool = False) -> None:
        """Note that an append was not answered. It may have arrived. gone: the worker is not registered any more."""
        peer = self._peer_of(peer_id, serial)
        if peer is not None:
            self.peers[peer_id] = peer.unanswered(gone=gone)

    def read(self, peer_id: ReplicaId, from_seq: Seq, records: tuple[Record, ...], commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """Take the records read from the log for a member. No records: they are trimmed, and it needs a snapshot."""
        peer = self.peers.get(peer_id)
        if peer is None or not isinstance(peer.progress, Replicating) or not peer.progress.reading:
            return []
        if peer.progress.next != from_seq:
            self.peers[peer_id] = peer.has_read(found=True)
            return []
        # Term and seq identify a record. If the log was cut after the read, these records are no longer in it.
        ours = all(self._log.term_at(record.seq) == record.term for record in records)
        peer = peer.has_read(found=bool(records))
        return [self._send(peer, records if ours else (), commit_seq, now_ms)]

    def swapped(self, base: Revision, outcome: SwapOutcome, revision: Revision) -> None:
        """Take the outcome of the swap on `base`. revision: the new epoch if the outcome is DONE."""
        proposal = self._proposal
        if proposal is None or proposal.base != base:
            return
        match outcome:
            case SwapOutcome.DONE:
                self.follow(proposal.config, revision)
            case SwapOutcome.REJECTED if not proposal.in_doubt:
                self._proposal, self._outdated = None, True
            case SwapOutcome.NOT_DONE if not proposal.in_doubt:
                self._proposal, self._swap_from_ms = None, proposal.asked_ms + SWAP_AGAIN_MS
            case SwapOutcome.NOT_DONE:
                self._proposal = replace(proposal, under_way=False)
            case SwapOutcome.REJECTED:
                # An earlier attempt of the same swap may have made the change. Only a newer configuration tells.
                self._proposal, self._outdated = replace(proposal, under_way=False), True
            case SwapOutcome.UNKNOWN:
                self._proposal = replace(proposal, in_doubt=True, under_way=False)

    # Effects

    def pump(self, commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """Return the appends and reads for the members that are due now."""
        found = (self._next_for(peer, commit_seq, now_ms) for peer in list(self.peers.values()))
        return [effect for effect in found if effect is not None]

    def change(self, commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """Return the change of the isr to request now: at most one swap."""
        proposal = self._proposal
        if proposal is not None:
            again = not proposal.under_way and not self._outdated and now_ms - proposal.asked_ms >= SWAP_AGAIN_MS
            if not again:
                return []
            self._proposal = replace(proposal, asked_ms=now_ms, under_way=True)
            return [SwapConfig(base=proposal.base, config=proposal.config)]
        wanted = None if self._outdated or now_ms < self._swap_from_ms else self._wanted(commit_seq, now_ms)
        if wanted is None:
            return []
        self._proposal = Proposal(base=self.epoch, config=wanted, asked_ms=now_ms)
        return [SwapConfig(base=self.epoch, config=wanted)]

    def _wanted(self, commit_seq: Seq, now_ms: int) -> ShardConfig | None:
        config = self.config
        if config.elr and len(config.isr) >= config.min_isr and self._has_begun():
            return without_eligible(config)
        for peer in self.peers.values():
            if may_shrink(config, peer.id) and self._is_to_leave_isr(peer, commit_seq, now_ms):
                return shrunk(config, peer.id)
        joins = next((peer for peer in self._with_a_place() if self._may_join(peer, commit_seq, now_ms)), None)
        return None if joins is None else expanded(config, joins.id)

    def _with_a_place(self) -> Iterable[Peer]:
        """Return the members for which the isr has a place.

        The isr may always hold one more than min_isr. Otherwise a lost member could be neither removed nor replaced.
        While a replica moves, there is one place more, however few replicas are wanted by now. Until the target is in
        sync, only the target may take it; then any member: otherwise a member that fell behind could not return before
        the source leaves, and the source cannot leave before that member returns.
        """
        config = self.config
        taken, places = len(keepers(config, config.primary)) + 1, max(config.rf, config.min_isr + 1)
        if taken < places:
            return self.peers.values()
        if config.move is None or taken > places:
            return ()
        target = config.move.target
        return self.peers.values() if target in config.isr else (peer for peer in self.peers.values() if peer.id == target)

    def _has_begun(self) -> bool:
        """Return whether all of the isr has this term's no-op, and so all records before it.

        Until then the isr may be unable to go on. The eligible members hold every committed record too, and must stay
        eligible.
        """
        in_sync = (peer for peer in self.peers.values() if peer.id in self.config.isr)
        return self._log.durable_seq >= self.noop and all(peer.match >= self.noop for peer in in_sync)

    def _is_to_leave_isr(self, peer: Peer, commit_seq: Seq, now_ms: int) -> bool:
        if peer.gone and commit_seq < self._log.last_seq:
            # Its worker was stopped, or lost its lease and cannot be reached. A record waits for it: do not let it wait
            # for long. Without a waiting record it stays, so that it may lead when all workers are stopped.
            return True
        if peer.waited_ms(now_ms) >= SHRINK_AFTER_MS or peer.lost_records or isinstance(peer.progress, OtherHistory):
            return True
        stay = [self.peers[each] for each in keepers(self.config, peer.id) if each in self.peers]
        all_keep_up = all(each.keeps_up and not each.lost_records and each.waited_ms(now_ms) < SHRINK_AFTER_MS for each in stay)
        return peer.id in self.config.leaving and is_spare(self.config, peer.id) and all_keep_up

    def _may_join(self, peer: Peer, commit_seq: Seq, now_ms: int) -> bool:
        """Return whether the member may join the isr: it holds every committed record and has room.

        This term's no-op follows all records of earlier terms.
        """
        if peer.id in self.config.isr or peer.id in self.config.leaving or not peer.keeps_up:
            return False
        if peer.no_room is not None and len(self.config.isr) >= self.config.min_isr:
            # In the isr, it would cause all upserts to be refused as long as it has no room.
            return False
        return peer.match >= max(commit_seq, self.noop) and peer.waited_ms(now_ms) < SHRINK_AFTER_MS

    def _next_for(self, peer: Peer, commit_seq: Seq, now_ms: int) -> LeadershipEffect | None:
        if peer.under_way:
            return None
        since_ms = QUIET_HEARTBEAT_MS if peer.exchange.sent_ms is None else now_ms - peer.exchange.sent_ms
        match peer.progress:
            case OtherHistory() | Replicating(reading=True):
                return None
            case Probing() | NeedsSnapshot():
                # Do not send records to a member that may be gone or cannot use them.
                return self._send(peer, (), commit_seq, now_ms) if since_ms >= RETRY_MS else None
            case Replicating(next=following) if following <= self._log.last_seq:
                return self._next_records(peer, following, commit_seq, now_ms)
            case Replicating():
                pause_ms = QUIET_HEARTBEAT_MS if self._is_quiet(peer, commit_seq) else HEARTBEAT_MS
                news = peer.exchange.told_commit < min(commit_seq, peer.match) or since_ms >= pause_ms
                return self._send(peer, (), commit_seq, now_ms) if news else None

    def _is_quiet(self, peer: Peer, commit_seq: Seq) -> bool:
        """Return whether a member of the isr has all records and room, and knows that they are committed."""
        knows = peer.match == peer.exchange.told_commit == commit_seq == self._log.last_seq
        return knows and peer.no_room is None and peer.id in self.config.isr

    def _next_records(self, peer: Peer, following: Seq, commit_seq: Seq, now_ms: int) -> LeadershipEffect:
        records = self._log.held(following, BATCH_BYTES)
        if records or not self._log.reaches(following):
            return self._send(peer, records, commit_seq, now_ms)
        self.peers[peer.id] = peer.reads()
        return ReadLog(peer=peer.id, from_seq=following, max_bytes=BATCH_BYTES)

    def _send(self, peer: Peer, records: tuple[Record, ...], commit_seq: Seq, now_ms: int) -> SendAppend:
        following = peer.following().next
        if not self._log.reaches(following):
            peer = peer.needs_snapshot(Seq(self._log.base[1] + 1))
        prev_seq = Seq(following - 1)
        prev_term = self._log.term_at(prev_seq)
        behind = isinstance(peer.progress, NeedsSnapshot)
        if behind or prev_term is None:
            # From the record before those that are kept for it, the member can tell whether it needs a snapshot.
            records, (prev_term, prev_seq) = (), self._where_it_goes_on(peer)
        serial = next(self._serials)
        to_end = prev_seq + len(records) >= self._log.last_seq
        size_bytes = sum(len(record.body) for record in records)
        self.peers[peer.id] = peer.sent(serial=serial, now_ms=now_ms, size_bytes=size_bytes, to_end=to_end, commit_seq=commit_seq)
        append = Append(
            shard=self.config.shard,
            term=self.config.term,
            primary=self.config.primary,
            to=peer.id,
            prev_term=prev_term,
            prev_seq=prev_seq,
            records=records,
            commit_seq=commit_seq,
            behind=behind,
        )
        return SendAppend(worker=peer.worker, serial=serial, append=append)

    def _where_it_goes_on(self, peer: Peer) -> tuple[Term, Seq]:
        """Return term and seq of the record after which a member that needs a snapshot goes on from the log."""
        last = Seq(peer.progress.kept_from - 1) if isinstance(peer.progress, NeedsSnapshot) else self._log.base[1]
        term = self._log.term_at(last)
        return self._log.base if term is None else (term, last)

    def _peer_of(self, peer_id: ReplicaId, serial: int) -> Peer | None:
        peer = self.peers.get(peer_id)
        return peer if peer is not None and peer.exchange.serial == serial else None

    def _meet_members(self) -> None:
        members: Mapping[ReplicaId, WorkerId] = {
            each: self.config.worker_of[each]
            for each in self.config.members
            if each != self.config.primary and each in self.config.worker_of
        }
        met = [self.peers.get(each) or self._newly_met(each, worker) for each, worker in members.items()]
        self.peers = {peer.id: peer if peer.id in self.config.isr else peer.outside_isr() for peer in met}

    def _newly_met(self, member: ReplicaId, worker: WorkerId) -> Peer:
        # A member of the isr most likely lacks only the no-op. Any other may be far behind, so it is probed first.
        in_sync = member in self.config.isr
        return Peer(id=member, worker=worker, progress=Replicating(next=self.noop) if in_sync else Probing(next=self.noop))


def _wants_from(peer: Peer) -> Seq | None:
    """Return the seq of the first record that the member will be sent soon; None if it may be gone or gets nothing."""
    match peer.progress:
        case NeedsSnapshot(kept_from=kept_from):
            # It does not answer while it installs its snapshot.
            return kept_from
        case Replicating():
            return Seq(peer.match + 1)
        case Probing() | OtherHistory():
            return None
