"""Test the replica state machine by examples, and by random histories with crashes against a plain model."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, ErrorDetails, PreconditionFailed, ResourceExhausted, Unavailable
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.shard_worker.logic.replication.append import NoRoom
from shoal.shard_worker.logic.replication.events import (
    Acknowledge,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    ConfigSeen,
    LeadNoMore,
    RecordsApplied,
    RecordsDurable,
    Refuse,
    SpaceChanged,
    StorageBroke,
    StoreTerm,
    TermStored,
    WriteAsked,
)
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.primary_read import served_term
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.refusals import MAX_PENDING_WRITES
from shoal.shard_worker.logic.replication.request_memory import Remembered, RequestMemory
from shoal.shard_worker.logic.replication.roles import Idle, Leading, ReplicaAtOpening

ME, OTHER = ReplicaId("me"), ReplicaId("other")
SHARD = ShardId(CollectionId("c"), 0)


def config(term: int, *, primary: ReplicaId = ME, reg: int = 7, state: ShardState = ShardState.ACTIVE) -> ShardConfig:
    return ShardConfig(
        shard=SHARD,
        term=Term(term),
        primary=primary,
        primary_reg=Revision(reg),
        isr=(primary,),
        elr=(),
        learners=(),
        worker_of={primary: WorkerId("w")},
        min_isr=1,
        rf=1,
        state=state,
        slots=split_evenly(1),
    )


def opened(*, term: int = 0, applied: int = 0, tail: tuple[Record, ...] = ()) -> ReplicaAtOpening:
    last = tail[-1].seq if tail else Seq(applied)
    return ReplicaAtOpening(
        shard=SHARD,
        replica=ME,
        known_term=Term(term),
        base=(Term(term if not tail else tail[0].term), Seq(applied)) if applied else (Term(0), Seq(0)),
        runs=((tail[0].term, tail[0].seq),) if tail else (),
        last_seq=last,
        applied_seq=Seq(applied),
        last_time_ms=0,
        tail=tail,
    )


def durable(through: int, term: int = 1) -> RecordsDurable:
    return RecordsDurable(term=Term(term), through=Seq(through))


def seen(term: int, *, epoch: int = 10, registration: int = 7, **changes) -> ConfigSeen:
    return ConfigSeen(config=config(term, **changes), epoch=Revision(epoch), registration=Revision(registration))


def write(number: int, *, ticket: int | None = None, kind: RecordKind = RecordKind.UPSERT, body: bytes = b"x") -> WriteAsked:
    return WriteAsked(
        ticket=number if ticket is None else ticket,
        request_id=RequestId("client", number),
        kind=kind,
        body=body,
        now_ms=1_000,
    )


def serving() -> ReplicaMachine:
    machine = ReplicaMachine(opened(), RequestMemory())
    machine.handle(seen(1))
    machine.handle(TermStored(term=Term(1)))
    machine.handle(durable(1))
    machine.handle(RecordsApplied(through=Seq(1), affected=(0,)))
    return machine


def test_a_new_primary_stores_its_term_then_appends_a_noop_and_serves_once_that_is_applied():
    machine = ReplicaMachine(opened(), RequestMemory())
    assert machine.handle(seen(1)) == [StoreTerm(term=Term(1))]
    (append,) = machine.handle(TermStored(term=Term(1)))
    assert isinstance(append, AppendRecords)
    (noop,) = append.records
    assert (noop.term, noop.seq, noop.kind) == (1, 1, RecordKind.NOOP)
    assert machine.handle(durable(1)) == [ApplyRecords(records=(noop,))]
    assert not machine.serves_writes
    assert not machine.serves_reads
    assert machine.handle(RecordsApplied(through=Seq(1), affected=(0,))) == []
    assert machine.serves_writes
    assert machine.serves_reads


def test_a_write_is_acknowledged_only_after_it_is_durable_and_applied():
    machine = serving()
    (append,) = machine.handle(write(1))
    assert append.records[0].seq == 2
    (apply,) = machine.handle(durable(2))
    assert apply == ApplyRecords(records=append.records)
    assert machine.handle(RecordsApplied(through=Seq(2), affected=(3,))) == [Acknowledge(ticket=1, seq=Seq(2), affected=3)]


def test_a_retry_of_a_write_in_flight_waits_for_the_same_record_and_one_of_an_applied_write_is_answered():
    machine = serving()
    machine.handle(write(1, ticket=1))
    assert machine.handle(write(1, ticket=2)) == []
    machine.handle(durable(2))
    both = machine.handle(RecordsApplied(through=Seq(2), affected=(3,)))
    assert both == [Acknowledge(ticket=1, seq=Seq(2), affected=3), Acknowledge(ticket=2, seq=Seq(2), affected=3)]
    assert machine.handle(write(1, ticket=3)) == [Acknowledge(ticket=3, seq=Seq(2), affected=3)]


def test_a_retry_too_old_to_tell_is_refused():
    applied = [Remembered(request_id=RequestId("client", n), seq=Seq(n), affected=0, time_ms=0) for n in (1, 10)]
    memory = RequestMemory(applied, per_client=4)
    memory.remember([])
    machine = ReplicaMachine(opened(applied=10), memory)
    machine.handle(seen(1))
    machine.handle(TermStored(term=Term(1)))
    machine.handle(durable(11))
    machine.handle(RecordsApplied(through=Seq(11), affected=(0,)))
    (refusal,) = machine.handle(write(5))
    assert isinstance(refusal.error, PreconditionFailed)


def test_the_tail_of_an_earlier_process_is_committed_by_the_new_term_before_anything_is_served():
    tail = tuple(
        Record(term=Term(1), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=5, request_id=RequestId("client", seq), body=b"")
        for seq in (3, 4)
    )
    machine = ReplicaMachine(opened(term=1, applied=2, tail=tail), RequestMemory())
    machine.handle(seen(2))
    append, applies_tail = machine.handle(TermStored(term=Term(2)))
    assert applies_tail == ApplyRecords(records=tail)
    machine.handle(RecordsApplied(through=Seq(4), affected=(1, 1)))
    assert not machine.serves_writes
    assert machine.handle(durable(5, term=2)) == [ApplyRecords(records=append.records)]
    machine.handle(RecordsApplied(through=Seq(5), affected=(0,)))
    assert machine.serves_writes
    assert machine.handle(write(4, ticket=9)) == [Acknowledge(ticket=9, seq=Seq(4), affected=1)]


def test_a_worker_that_registered_again_does_not_lead_in_the_old_term():
    machine = ReplicaMachine(opened(term=1), RequestMemory())
    assert machine.handle(seen(1, registration=8)) == []
    assert machine.handle(seen(2, reg=7, registration=8, epoch=11)) == []
    assert machine.handle(seen(2, reg=8, registration=8, epoch=12)) == [StoreTerm(term=Term(2))]


def test_a_term_that_was_stored_before_is_never_led_again():
    machine = ReplicaMachine(opened(term=3), RequestMemory())
    assert machine.handle(seen(3)) == []


def test_old_news_is_ignored():
    machine = serving()
    assert machine.handle(seen(5, epoch=9, primary=OTHER)) == []
    assert machine.serves_writes


def test_a_primary_that_learns_of_another_steps_down_and_says_maybe():
    machine = serving()
    machine.handle(write(1))
    (refusal,) = machine.handle(seen(2, epoch=11, primary=OTHER))
    assert isinstance(refusal, Refuse)
    assert isinstance(refusal.error, Unavailable)
    assert refusal.error.details.applied == {str(SHARD): "maybe"}
    (no,) = machine.handle(write(2))
    assert no.error.details.applied == {str(SHARD): "no"}


def test_a_primary_that_hands_over_answers_nothing_more_in_its_term_and_never_leads_in_it_again():
    machine = serving()
    machine.handle(write(1))
    (refused,) = machine.handle(LeadNoMore(term=Term(1)))
    assert isinstance(refused, Refuse)
    assert refused.error.details.applied == {str(SHARD): "maybe"}
    assert served_term(machine) is None
    assert machine.serves_reads, "reads that need no primary go on"
    assert machine.handle(durable(2)) == [], "what was on the way is not committed by it"
    (late,) = machine.handle(write(2))
    assert isinstance(late, Refuse)
    for epoch in (10, 11, 12):
        assert machine.handle(seen(1, epoch=epoch)) == []
    assert isinstance(machine.role, Idle)
    assert machine.handle(seen(2, epoch=13)) == [StoreTerm(term=Term(2))], "a later term is another matter"


def test_a_candidate_that_hands_over_before_its_term_is_durable_does_not_begin_it_later():
    machine = ReplicaMachine(opened(), RequestMemory())
    machine.handle(seen(1))
    assert machine.handle(LeadNoMore(term=Term(1))) == []
    assert machine.handle(seen(1, epoch=11)) == []
    assert machine.handle(TermStored(term=Term(1))) == []
    assert machine.handle(seen(1, epoch=12)) == []
    assert isinstance(machine.role, Idle)


def test_a_hand_over_of_an_earlier_term_does_not_end_this_one():
    machine = serving()
    machine.handle(seen(2, epoch=11))
    machine.handle(TermStored(term=Term(2)))
    assert machine.handle(LeadNoMore(term=Term(1))) == []
    assert isinstance(machine.role, Leading)


def test_reelection_of_the_same_replica_lets_its_callers_ask_again_and_then_answers_them():
    machine = serving()
    machine.handle(write(1))
    (refusal, store) = machine.handle(seen(2, epoch=11, reg=9, registration=9))
    assert refusal.error.details.applied == {str(SHARD): "maybe"}
    assert store == StoreTerm(term=Term(2))
    machine.handle(TermStored(term=Term(2)))
    machine.handle(durable(3, term=2))
    assert machine.handle(RecordsApplied(through=Seq(3), affected=(1, 0))) == []
    assert machine.handle(write(1, ticket=7)) == [Acknowledge(ticket=7, seq=Seq(2), affected=1)]


def test_the_end_of_a_flush_says_nothing_of_a_record_of_another_term_at_that_place():
    machine = serving()
    machine.handle(write(1))
    assert machine.handle(durable(2, term=3)) == []
    assert isinstance(machine.handle(durable(2))[0], ApplyRecords)


def test_nothing_is_served_before_the_folder_is_confirmed():
    machine = ReplicaMachine(opened(), RequestMemory())
    machine.handle(seen(1, state=ShardState.CREATING))
    machine.handle(TermStored(term=Term(1)))
    machine.handle(durable(1))
    machine.handle(RecordsApplied(through=Seq(1), affected=(0,)))
    assert not machine.serves_writes
    machine.handle(seen(1, epoch=11))
    assert machine.serves_writes
    assert machine.serves_reads


def test_a_full_disk_refuses_upserts_and_updates_takes_deletes_and_still_answers_retries():
    machine = serving()
    machine.handle(write(1))
    machine.handle(durable(2))
    machine.handle(RecordsApplied(through=Seq(2), affected=(1,)))
    machine.handle(SpaceChanged(no_room=NoRoom(reason="the disk is 91 % full", limit="disk")))
    (refusal,) = machine.handle(write(2))
    assert isinstance(refusal.error, ResourceExhausted)
    assert refusal.error.details.limit == "disk"
    assert refusal.error.details.retry_after_s is None
    (refusal,) = machine.handle(write(2, kind=RecordKind.UPDATE))
    assert isinstance(refusal.error, ResourceExhausted), "an update writes its points anew"
    assert isinstance(machine.handle(write(3, kind=RecordKind.DELETE))[0], AppendRecords)
    assert machine.handle(write(1, ticket=9)) == [Acknowledge(ticket=9, seq=Seq(2), affected=1)]
    machine.handle(SpaceChanged(no_room=None))
    assert isinstance(machine.handle(write(4))[0], AppendRecords)


def test_the_queue_of_writes_is_bounded():
    machine = serving()
    for number in range(1, MAX_PENDING_WRITES + 1):
        assert isinstance(machine.handle(write(number))[0], AppendRecords)
    (refusal,) = machine.handle(write(MAX_PENDING_WRITES + 1))
    assert isinstance(refusal.error, ResourceExhausted)
    assert refusal.error.details.retry_after_s is not None, "a queue that is full now is not full for ever"


def test_a_broken_storage_refuses_everybody_now_and_later():
    machine = serving()
    machine.handle(write(1))
    (now,) = machine.handle(StorageBroke(error=DataLoss("bad sector")))
    assert isinstance(now.error, DataLoss)
    assert now.error.details.applied == {str(SHARD): "maybe"}
    (later,) = machine.handle(write(2))
    assert later.error.details.applied == {str(SHARD): "no"}
    assert not machine.serves_reads


def test_after_a_write_that_found_no_room_later_ones_hear_that_the_disk_is_full():
    machine = serving()
    machine.handle(write(1))
    full = Unavailable("disk full", ErrorDetails(limit="disk"))
    (now,) = machine.handle(StorageBroke(error=full))
    assert (type(now.error), now.error.details.limit, set(now.error.details.applied.values())) == (Unavailable, "disk", {"maybe"})
    (later,) = machine.handle(write(2))
    assert (type(later.error), later.error.details.limit) == (ResourceExhausted, "disk")
    assert set(later.error.details.applied.values()) == {"no"}


def test_a_caller_who_left_is_not_answered_but_its_write_goes_on():
    machine = serving()
    machine.handle(write(1))
    machine.handle(CallerLeft(ticket=1))
    assert isinstance(machine.handle(durable(2))[0], ApplyRecords)
    assert machine.handle(RecordsApplied(through=Seq(2), affected=(1,))) == []


@dataclasses.dataclass
class Disk:
    """What survives a crash: the appended records (durable or not), the known term, and the applied records."""

    log: list[Record] = dataclasses.field(default_factory=list)
    durable: int = 0
    term: int = 0
    applied: list[Record] = dataclasses.field(default_factory=list)


class World:
    """One replica, its disk and its callers. Effects wait in a queue until the history lets them happen."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.registration = 1
        self.term = 0
        self.acknowledged: dict[int, int] = {}
        self.restart(lose_tail=False)

    def restart(self, *, lose_tail: bool) -> None:
        if lose_tail:
            del self.disk.log[self.disk.durable :]
        applied = len(self.disk.applied)
        memory = RequestMemory(
            Remembered(request_id=record.request_id, seq=record.seq, affected=1, time_ms=record.time_ms)
            for record in self.disk.applied
            if record.request_id is not None
        )
        tail = tuple(self.disk.log[applied:])
        self.machine = ReplicaMachine(opened(term=self.disk.term, applied=applied, tail=tail), memory)
        self.disk.durable = len(self.disk.log)
        self.registration += 1
        self.queue: list = []

    def elect(self) -> None:
        self.term += 1
        self.feed(seen(self.term, epoch=100 + self.term, reg=self.registration, registration=self.registration))

    def feed(self, event) -> None:
        for effect in self.machine.handle(event):
            if isinstance(effect, Acknowledge):
                self.acknowledged[effect.ticket] = effect.seq
            elif not isinstance(effect, Refuse):
                self.queue.append(effect)

    def perform(self) -> None:
        if not self.queue:
            return
        match self.queue.pop(0):
            case StoreTerm(term=term):
                self.disk.term = term
                self.feed(TermStored(term=term))
            case AppendRecords(records=records):
                self.disk.log.extend(records)
                self.disk.durable = len(self.disk.log)
                self.feed(RecordsDurable(term=records[-1].term, through=records[-1].seq))
            case ApplyRecords(records=records):
                assert records[-1].seq <= self.disk.durable, "applied what is not durable"
                self.disk.applied.extend(records)
                self.feed(RecordsApplied(through=records[-1].seq, affected=(1,) * len(records)))

    def ask(self, number: int) -> None:
        self.feed(write(number))

    def check(self) -> None:
        assert [record.seq for record in self.disk.applied] == list(range(1, len(self.disk.applied) + 1))
        requests = [record.request_id for record in self.disk.applied if record.request_id is not None]
        assert len(requests) == len(set(requests)), "a write was applied twice"
        numbers = {request.number for request in requests}
        assert set(self.acknowledged) <= numbers, "an acknowledged write is lost"


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 20)),
    st.tuples(st.just("perform"), st.just(0)),
    st.tuples(st.just("elect"), st.just(0)),
    st.tuples(st.just("crash"), st.booleans()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=80))
def test_random_histories_with_crashes_and_retries_lose_and_repeat_nothing(history):
    world = World()
    for step, argument in history:
        match step:
            case "write":
                world.ask(argument)
            case "perform":
                world.perform()
            case "elect":
                world.elect()
            case "crash":
                world.restart(lose_tail=argument)
        world.check()
    world.restart(lose_tail=True)
    world.elect()
    while world.queue:
        world.perform()
    world.check()
    assert world.machine.serves_writes
