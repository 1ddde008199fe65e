"""The primary's state for each other member: how it sends records to the member.

    Probing ───────> Replicating ───────> Probing       the member answers; it does not answer
       │                  │  ^
       └──> NeedsSnapshot <┘  └── NeedsSnapshot          a snapshot brings what it lacks; the log the rest
    any of these ──> OtherHistory                        it has committed records that this primary never had

Every transition is a method of Peer that returns the next Peer. Reads no log, clock or network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shoal.core.ids import ReplicaId, Seq, WorkerId
from shoal.shard_worker.logic.replication.append import NoRoom

BYTES_PER_MS = 4_096
"""The least rate at which a member takes records, network and disk together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """The last append that was sent to a member.

    serial: of the append under way, None without one; sent_ms: when the last append was sent, None before the first;
    size_bytes: of its records; to_end: whether it reached the end of the log; told_commit: the commit point in it, 0
    after an unanswered append; waiting_since_ms: when the first append after the last progress was sent, None without
    one.

    Invariant: while an append is under way, waiting_since_ms and sent_ms are set, and waiting_since_ms <= sent_ms.
    """

    serial: int | None = None
    sent_ms: int | None = None
    size_bytes: int = 0
    to_end: bool = True
    told_commit: Seq = Seq(0)
    waiting_since_ms: int | None = None

    def waited_ms(self, now_ms: int) -> int:
        """Return how long the member has made no progress; 0 if it has nothing to answer.

        The time that an append of this size may need does not count.
        """
        return 0 if self.waiting_since_ms is None else now_ms - self.waiting_since_ms - self.size_bytes // BYTES_PER_MS

    def sent(self, *, serial: int, now_ms: int, size_bytes: int, to_end: bool, commit_seq: Seq) -> Exchange:
        """Return the exchange with another append under way."""
        since_ms = now_ms if self.waiting_since_ms is None else self.waiting_since_ms
        return Exchange(
            serial=serial, sent_ms=now_ms, size_bytes=size_bytes, to_end=to_end, told_commit=commit_seq, waiting_since_ms=since_ms
        )

    def answered(self, *, progress: bool) -> Exchange:
        """Return the exchange after the append under way was answered."""
        return Exchange(
            sent_ms=self.sent_ms,
            size_bytes=self.size_bytes,
            to_end=self.to_end,
            told_commit=self.told_commit,
            waiting_since_ms=None if progress else self.waiting_since_ms,
        )

    def unanswered(self) -> Exchange:
        """Return the exchange after the append under way failed. It may have arrived."""
        return replace(self, serial=None, told_commit=Seq(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Probing:
    """The member may be gone, and its log is unknown: it was never asked, or did not answer last.

    It is sent no records, only heartbeats that follow the record before `next`. Its answer tells where to begin.

    Invariant: next is at most the one after the end of the primary's log, and nothing is being read for the member.
    """

    next: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicating:
    """The member answers, and is sent records from `next` on. reading: its next records are being read from the log.

    Invariant: next is at most the one after the end of the primary's log; while records are being read, no append is
    under way.
    """

    next: Seq
    reading: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedsSnapshot:
    """The member lacks the record at `next`, and is not sent it: the primary's log no longer holds it, or the member
    lacks so much that a snapshot is better.

    Appends say so to the member, which then fetches a snapshot; it may not answer meanwhile. kept_from: when this was
    found, the first record that the log held, or the first that was not applied. A snapshot taken since then holds all
    records before it, so the log must keep the records from there on.

    Invariant: next <= kept_from - 1.
    """

    next: Seq
    kept_from: Seq


@dataclass(frozen=True, slots=True)
class OtherHistory:
    """The member has committed a record that this primary never had. It is sent nothing, and must leave the isr.

    Invariant: no append is under way, and none ever will be.
    """


Following = Probing | Replicating | NeedsSnapshot
Progress = Following | OtherHistory


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Another member, as the primary knows it.

    match: its log is durable and equal to the primary's up to here; no_room: why it had no room for upserts in its last
    answer; lost_records: it lacks records that it had acknowledged, and is still in the isr; gone: it did not answer
    last, and its worker was not registered then.
    """

    id: ReplicaId
    worker: WorkerId
    progress: Progress
    match: Seq = Seq(0)
    no_room: NoRoom | None = None
    lost_records: bool = False
    gone: bool = False
    exchange: Exchange = Exchange()

    def waited_ms(self, now_ms: int) -> int:
        """Return how long it has made no progress; see Exchange."""
        return self.exchange.waited_ms(now_ms)

    @property
    def under_way(self) -> bool:
        """Return whether an append to it is not answered yet."""
        return self.exchange.serial is not None

    @property
    def keeps_up(self) -> bool:
        """Return whether it answers and can be brought up to date from the log."""
        return isinstance(self.progress, Replicating)

    def following(self) -> Following:
        """Return its progress, which must not be OtherHistory."""
        assert not isinstance(self.progress, OtherHistory), f"nothing is sent to {self.id}, it has another history"
        return self.progress

    def sent(self, *, serial: int, now_ms: int, size_bytes: int, to_end: bool, commit_seq: Seq) -> Peer:
        """Return the peer with an append under way. size_bytes, to_end: see Exchange."""
        assert not self.under_way, f"an append to {self.id} is under way"
        exchange = self.exchange.sent(serial=serial, now_ms=now_ms, size_bytes=size_bytes, to_end=to_end, commit_seq=commit_seq)
        return self._with(self.progress, self.match, self.no_room, exchange, gone=self.gone)

    def matched(self, through: Seq, no_room: NoRoom | None) -> Peer:
        """Return the peer after the answer that its log equals the primary's up to `through`."""
        match = Seq(max(self.match, through))
        exchange = self.exchange.answered(progress=through > self.match or self.exchange.to_end)
        progress = Replicating(next=Seq(max(self.following().next, match + 1)))
        return self._with(progress, match, no_room, exchange, gone=False)

    def _with(self, progress: Progress, match: Seq, no_room: NoRoom | None, exchange: Exchange, *, gone: bool) -> Peer:
        # Each append makes two peers, and `replace` takes three times as long.
        return Peer(
            id=self.id,
            worker=self.worker,
            progress=progress,
            match=match,
            no_room=no_room,
            lost_records=self.lost_records,
            gone=gone,
            exchange=exchange,
        )

    def parted(self, *, last_seq: Seq, equal: Seq, ours: Seq) -> Peer:
        """Return the peer after the answer that the records did not follow its log.

        last_seq: of its log; equal: both logs are certainly equal up to here; ours: last seq of the primary's log.
        """
        lost = last_seq < self.match
        known = replace(
            self,
            match=Seq(0) if lost else self.match,
            lost_records=lost or self.lost_records,
            exchange=self.exchange.answered(progress=False),
        )
        if equal > ours:
            return replace(known, progress=OtherHistory())
        if isinstance(self.progress, NeedsSnapshot) and self.progress.next == equal + 1:
            return known
        return replace(known, progress=Replicating(next=Seq(equal + 1)))

    def unanswered(self, *, gone: bool = False) -> Peer:
        """Return the peer after an append failed. Records that may not have arrived are sent again. gone: see Peer."""
        before = self.following()
        following = Seq(min(before.next, self.match + 1)) if self.match else before.next
        still = replace(before, next=following) if isinstance(before, NeedsSnapshot) else Probing(next=following)
        return replace(self, progress=still, gone=gone, exchange=self.exchange.unanswered())

    def reads(self) -> Peer:
        """Return the peer while its next records are being read from the log."""
        return replace(self, progress=Replicating(next=self.following().next, reading=True))

    def has_read(self, *, found: bool) -> Peer:
        """Return the peer after its records were read. found: whether there were any; if not, it is probed."""
        following = self.following().next
        return replace(self, progress=Replicating(next=following) if found else Probing(next=following))

    def needs_snapshot(self, kept_from: Seq) -> Peer:
        """Return the peer once the log does not hold what it lacks. kept_from: the first record in the log."""
        before = self.following()
        if isinstance(before, NeedsSnapshot):
            return self
        return replace(self, progress=NeedsSnapshot(next=before.next, kept_from=kept_from))

    def outside_isr(self) -> Peer:
        """Return the peer after it left the isr: commits no longer rely on the records that it lost."""
        return replace(self, lost_records=False)
