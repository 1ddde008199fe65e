"""The primary's half of replication: how far each member is, what to send it next, and which change of the isr to ask
for.

It performs nothing. A term begins with the primary's no-op and ends when the machine drops it; nothing of it outlives
the term. At most one swap of the configuration is asked for at a time. From before it is sent until its outcome is
surely known, a record counts as committed only when it is on the isr before the swap and on the isr after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from shoal.core.ids import ReplicaId, Revision, Seq, WorkerId
from shoal.core.shard_config import ShardConfig, commit_point, expanded, is_spare, keepers, may_shrink, shrunk, without_eligible
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, Diverged, LogMatches, LogSummary, NoRoom
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.record import Record

BATCH_BYTES = 4 * 1024 * 1024
HEARTBEAT_MS = 500
RETRY_MS = 200
SHRINK_AFTER_MS = 1_500
"""Without progress of a member, from the first unanswered append on, until the primary asks for an isr without it."""

BYTES_PER_MS = 4_096
"""What a member takes at the least, network and disk together."""

STALLED_MS = 3_000
"""Without progress of a member that is needed until new writes are refused instead of kept waiting."""

SWAP_AGAIN_MS = 1_000


class SwapOutcome(StrEnum):
    """What is known of a compare-and-swap. REJECTED: what it was made from has changed; NOT_DONE: surely not done, for
    another reason; UNKNOWN: it may have happened, or may yet happen."""

    DONE = "done"
    REJECTED = "rejected"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class SendAppend:
    """Send it to the member's worker, once; then say PeerAnswered or PeerSilent with this serial."""

    worker: WorkerId
    serial: int
    append: Append


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLog:
    """Read records from the log for a member, from from_seq on, one at least, up to max_bytes; then say LogRead."""

    peer: ReplicaId
    from_seq: Seq
    max_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapConfig:
    """Put `config` if the epoch is still `base` and the primary's worker still has config.primary_reg; then say
    SwapEnded.
    """

    base: Revision
    config: ShardConfig


LeadershipEffect = SendAppend | ReadLog | SwapConfig


@dataclass
class Peer:
    """A member as the primary knows it.

    match: durable there and equal to the primary's log up to here; next: seq to send next; serial: of the append in
    flight, 0 for none; sent_bytes, sent_all: of the last one, and whether it reached to the end of the log;
    waiting_since_ms: when the first append was sent that brought no progress.
    """

    id: ReplicaId
    worker: WorkerId
    next: Seq
    match: Seq = Seq(0)
    told_commit: Seq = Seq(0)
    serial: int = 0
    sent_ms: int | None = None
    waiting_since_ms: int | None = None
    no_room: NoRoom | None = None
    sent_bytes: int = 0
    sent_all: bool = True
    reading: bool = False
    silent: bool = False
    behind: bool = False
    behind_from: Seq = Seq(0)
    lost_records: bool = False
    estranged: bool = False

    def waited_ms(self, now_ms: int) -> int:
        """How long it has brought no progress, 0 while nothing is asked of it.

        What is under way may take its time for its size.
        """
        return 0 if self.waiting_since_ms is None else now_ms - self.waiting_since_ms - self.sent_bytes // BYTES_PER_MS


@dataclass
class Proposal:
    """A swap that was asked for. in_doubt: an attempt of it ended with an unknown outcome."""

    base: Revision
    config: ShardConfig
    asked_ms: int
    in_doubt: bool = False
    under_way: bool = True


class Leadership:
    """One term of a primary. Used by one thread; `log` is the machine's."""

    def __init__(self, *, config: ShardConfig, epoch: Revision, noop: Seq, log: LogView, serials: Iterator[int]) -> None:
        self.config, self.epoch, self.noop = config, epoch, noop
        self._log, self._serials = log, serials
        self._proposal: Proposal | None = None
        self._outdated = False
        self._swap_from_ms = 0
        self.peers: dict[ReplicaId, Peer] = {}
        self._meet_members()

    # What is committed

    def commit_point(self) -> Seq:
        """How far everything is committed, by what is known now; 0 when nothing new can be."""
        durable: dict[ReplicaId, Seq] = {peer.id: peer.match for peer in self.peers.values()}
        durable[self.config.primary] = self._log.durable_seq
        return commit_point(self.config, durable, self._joining())

    def _joining(self) -> tuple[ReplicaId, ...]:
        """Members that count already, or still, because a swap is asked for whose outcome is not surely known."""
        return () if self._proposal is None else self._proposal.config.isr

    def _needed(self) -> list[Peer]:
        return [self.peers[each] for each in sorted({*self.config.isr, *self._joining()}) if each in self.peers]

    # Whether it can take writes

    def obstacle(self, now_ms: int) -> str | None:
        """Why no write could be committed soon, in words."""
        config = self.config
        if len(config.isr) < config.min_isr:
            return f"{len(config.isr)} replicas are in sync, {config.min_isr} must be"
        stuck = next((peer for peer in self._needed() if peer.waited_ms(now_ms) >= STALLED_MS), None)
        return None if stuck is None else f"replica {stuck.id} on worker {stuck.worker} does not answer and cannot be left out"

    def no_room(self) -> NoRoom | None:
        """Why upserts find no room at a member that needs them."""
        full = next((peer for peer in self._needed() if peer.no_room is not None), None)
        if full is None or full.no_room is None:
            return None
        return replace(full.no_room, reason=f"worker {full.worker}: {full.no_room.reason}")

    def furthest_behind(self) -> int:
        """Records that the furthest behind of the other members lacks."""
        return max((self._log.last_seq - peer.match for peer in tuple(self.peers.values())), default=0)

    @property
    def has_peers(self) -> bool:
        """Whether there is anybody to send records to."""
        return bool(self.peers)

    def needed_from(self) -> Seq:
        """The first record that a member lacks whom commits wait for; those from there on must not be trimmed."""
        return Seq(min((peer.match + 1 for peer in self._needed()), default=self._log.last_seq + 1))

    def wanted_from(self) -> Seq:
        """The first record that any member lacks who is about to be sent it, or will be after the snapshot that it
        fetches: it is silent while it installs that."""
        wanting = (peer for peer in self.peers.values() if not peer.estranged and (peer.behind or not peer.silent))
        wants = (peer.behind_from if peer.behind else peer.match + 1 for peer in wanting)
        return Seq(min((*wants, self.needed_from())))

    # Events

    def follow(self, config: ShardConfig, epoch: Revision) -> None:
        """A newer configuration of the same term.

        Whatever was asked for on an older one has happened, or never will.
        """
        if epoch <= self.epoch:
            return
        self.config, self.epoch = config, epoch
        self._outdated = False
        if self._proposal is not None and self._proposal.base < epoch:
            self._proposal = None
        self._meet_members()

    def answered(self, peer_id: ReplicaId, serial: int, answer: AppendAnswer) -> None:
        """A member answered Matched or Diverged."""
        peer = self._peer_of(peer_id, serial)
        if peer is None:
            return
        peer.serial, peer.silent = 0, False
        match answer:
            case LogMatches(through=through, no_room=no_room):
                progress = through > peer.match or peer.sent_all
                peer.match = max(peer.match, through)
                peer.next = Seq(max(peer.next, peer.match + 1))
                peer.waiting_since_ms = None if progress else peer.waiting_since_ms
                peer.behind, peer.no_room = False, no_room
            case Diverged(summary=summary):
                self._find_divergence(peer, summary)
            case _:
                raise AssertionError(f"a leadership does not take {answer}")

    def silent(self, peer_id: ReplicaId, serial: int) -> None:
        """An append was not answered: it may have arrived or not."""
        peer = self._peer_of(peer_id, serial)
        if peer is not None:
            peer.serial, peer.silent, peer.told_commit = 0, True, Seq(0)
            peer.next = Seq(min(peer.next, peer.match + 1)) if peer.match else peer.next

    def read(self, peer_id: ReplicaId, from_seq: Seq, records: tuple[Record, ...], commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """Records for a member came from the log; none: they are trimmed, so it needs a snapshot."""
        peer = self.peers.get(peer_id)
        if peer is None or not peer.reading:
            return []
        peer.reading = False
        if peer.next != from_seq or peer.serial:
            return []
        # A record is named by its term and seq: what was read before a cut of the log is not taken for what is there
        # now.
        ours = all(self._log.term_at(record.seq) == record.term for record in records)
        self._look_whether_behind(peer)
        peer.silent = not records and not peer.behind
        return [self._send(peer, records if ours else (), commit_seq, now_ms)]

    def swapped(self, base: Revision, outcome: SwapOutcome, revision: Revision) -> None:
        """The swap on `base` ended; revision: its epoch when it is DONE."""
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
                proposal.under_way = False
            case SwapOutcome.REJECTED:
                # An earlier attempt may have been the change that this one met: only a newer configuration tells.
                proposal.under_way, self._outdated = False, True
            case SwapOutcome.UNKNOWN:
                proposal.in_doubt, proposal.under_way = True, False

    # Effects

    def pump(self, commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """What is to be sent now."""
        found = (self._next_for(peer, commit_seq, now_ms) for peer in list(self.peers.values()))
        return [effect for effect in found if effect is not None]

    def change(self, commit_seq: Seq, now_ms: int) -> list[LeadershipEffect]:
        """The change of the isr to ask for now, if any."""
        proposal = self._proposal
        if proposal is not None:
            again = not proposal.under_way and not self._outdated and now_ms - proposal.asked_ms >= SWAP_AGAIN_MS
            if not again:
                return []
            proposal.asked_ms, proposal.under_way = now_ms, True
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
            if may_shrink(config, peer.id) and self._is_to_leave_isr(peer, now_ms):
                return shrunk(config, peer.id)
        if len(keepers(config, config.primary)) + 1 >= max(config.rf, config.min_isr + 1):
            # One more than min_isr always finds a place: else a lost member could neither be left out nor replaced.
            return None
        joins = next((peer for peer in self.peers.values() if self._may_join(peer, commit_seq, now_ms)), None)
        return None if joins is None else expanded(config, joins.id)

    def _has_begun(self) -> bool:
        """Whether all of the isr has what may be committed: this term's no-op, and with it all before. Until then it
        may yet turn out that the isr cannot go on, and those that are eligible hold everything."""
        in_sync = (peer for peer in self.peers.values() if peer.id in self.config.isr)
        return self._log.durable_seq >= self.noop and all(peer.match >= self.noop for peer in in_sync)

    def _is_to_leave_isr(self, peer: Peer, now_ms: int) -> bool:
        if peer.waited_ms(now_ms) >= SHRINK_AFTER_MS or peer.lost_records or peer.estranged:
            return True
        stay = [self.peers[each] for each in keepers(self.config, peer.id) if each in self.peers]
        all_keep_up = all(not each.silent and not each.lost_records and each.waited_ms(now_ms) < SHRINK_AFTER_MS for each in stay)
        return peer.id in self.config.leaving and is_spare(self.config, peer.id) and all_keep_up

    def _may_join(self, peer: Peer, commit_seq: Seq, now_ms: int) -> bool:
        """Whether it holds every committed record: those of earlier terms too, which end with this term's no-op."""
        if peer.id in self.config.isr or peer.id in self.config.leaving or peer.estranged or peer.silent:
            return False
        if peer.no_room is not None and len(self.config.isr) >= self.config.min_isr:
            # Upserts would be refused for its sake.
            return False
        return peer.match >= max(commit_seq, self.noop) and peer.waited_ms(now_ms) < SHRINK_AFTER_MS

    def _next_for(self, peer: Peer, commit_seq: Seq, now_ms: int) -> LeadershipEffect | None:
        if peer.serial or peer.reading or peer.estranged:
            return None
        since_ms = HEARTBEAT_MS if peer.sent_ms is None else now_ms - peer.sent_ms
        if peer.silent or peer.behind:
            # Nothing large to one that may not be there, or cannot take it.
            return self._send(peer, (), commit_seq, now_ms) if since_ms >= RETRY_MS else None
        if peer.next <= self._log.last_seq:
            records = self._log.held(peer.next, BATCH_BYTES)
            if records:
                return self._send(peer, records, commit_seq, now_ms)
            self._look_whether_behind(peer)
            if not peer.behind:
                peer.reading = True
                return ReadLog(peer=peer.id, from_seq=peer.next, max_bytes=BATCH_BYTES)
            return self._send(peer, (), commit_seq, now_ms)
        if peer.told_commit < min(commit_seq, peer.match) or since_ms >= HEARTBEAT_MS:
            return self._send(peer, (), commit_seq, now_ms)
        return None

    def _send(self, peer: Peer, records: tuple[Record, ...], commit_seq: Seq, now_ms: int) -> SendAppend:
        prev_seq = Seq(peer.next - 1)
        prev_term = self._log.term_at(prev_seq)
        if peer.behind or prev_term is None:
            # With the beginning of this log it can tell whether that is so.
            self._look_whether_behind(peer)
            records, (prev_term, prev_seq) = (), self._log.base
        serial = next(self._serials)
        peer.serial, peer.sent_ms, peer.told_commit = serial, now_ms, commit_seq
        peer.sent_bytes, peer.sent_all = sum(len(record.body) for record in records), prev_seq + len(records) >= self._log.last_seq
        if peer.waiting_since_ms is None:
            peer.waiting_since_ms = now_ms
        append = Append(
            shard=self.config.shard,
            term=self.config.term,
            primary=self.config.primary,
            to=peer.id,
            prev_term=prev_term,
            prev_seq=prev_seq,
            records=records,
            commit_seq=commit_seq,
            behind=peer.behind,
        )
        return SendAppend(worker=peer.worker, serial=serial, append=append)

    def _look_whether_behind(self, peer: Peer) -> None:
        behind = not self._log.reaches(peer.next)
        if behind and not peer.behind:
            # A snapshot that it takes from now on holds all before this log's beginning; what follows that one must be
            # there then.
            peer.behind_from = Seq(self._log.base[1] + 1)
        peer.behind = behind

    def _find_divergence(self, peer: Peer, summary: LogSummary) -> None:
        if summary.last_seq < peer.match:
            peer.lost_records = True
            peer.match = Seq(0)
        equal = self._log.agrees_until(summary)
        # It has committed what this primary never had: it is not of this shard's history any more.
        peer.estranged = equal > self._log.last_seq
        before, peer.next = peer.next, Seq(equal + 1)
        if peer.next != before:
            peer.behind = False

    def _peer_of(self, peer_id: ReplicaId, serial: int) -> Peer | None:
        peer = self.peers.get(peer_id)
        return peer if peer is not None and peer.serial == serial else None

    def _meet_members(self) -> None:
        members: Mapping[ReplicaId, WorkerId] = {
            each: self.config.worker_of[each]
            for each in self.config.members
            if each != self.config.primary and each in self.config.worker_of
        }
        self.peers = {each: self.peers.get(each) or self._newly_met(each, worker) for each, worker in members.items()}
        for peer in self.peers.values():
            peer.lost_records = peer.lost_records and peer.id in self.config.isr

    def _newly_met(self, member: ReplicaId, worker: WorkerId) -> Peer:
        # Who may be far behind is asked first what it has; a member of the isr most likely lacks the no-op only.
        return Peer(id=member, worker=worker, next=self.noop, silent=member not in self.config.isr)
