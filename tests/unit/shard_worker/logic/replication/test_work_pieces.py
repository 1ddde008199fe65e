"""Test how the work of a writer is cut: what is appended goes first, what is applied keeps its order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.events import AppendRecords, ApplyRecords, ForgetRequests, ReplicaEffect, StoreTerm, TruncateLog
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Forgetting
from shoal.shard_worker.logic.replication.work_pieces import cut_work


def records(first: int, count: int) -> tuple[Record, ...]:
    seqs = map(Seq, range(first, first + count))
    return tuple(Record(term=Term(1), seq=seq, kind=RecordKind.NOOP, time_ms=0, request_id=None, body=b"x" * (seq % 4)) for seq in seqs)


@st.composite
def works(draw: st.DrawFn) -> list[ReplicaEffect]:
    work: list[ReplicaEffect] = []
    following = 1
    for kind in draw(st.lists(st.sampled_from("atlfs"), max_size=12)):
        match kind:
            case "a":
                count = draw(st.integers(1, 9))
                work.append(ApplyRecords(records=records(following, count)))
                following += count
            case "t":
                work.append(TruncateLog(after=Seq(1_000)))
            case "l":
                work.append(AppendRecords(records=records(1_001, 2)))
            case "f":
                work.append(ForgetRequests(forgetting=Forgetting(through=(("client", following),))))
            case _:
                work.append(StoreTerm(term=Term(following)))
    return work


def _of_the_log(work: list[ReplicaEffect]) -> list[ReplicaEffect]:
    return [effect for effect in work if isinstance(effect, AppendRecords | TruncateLog | StoreTerm)]


def _applied(work: list[ReplicaEffect]) -> list[object]:
    """Return the records to apply, one by one, and what is forgotten, in order."""
    found: list[object] = []
    for effect in work:
        if isinstance(effect, ApplyRecords):
            found += effect.records
        elif isinstance(effect, ForgetRequests):
            found.append(effect)
    return found


@given(works(), st.integers(1, 20), st.integers(0, 20))
def test_everything_is_carried_out_in_its_order_in_pieces(work: list[ReplicaEffect], most: int, most_bytes: int) -> None:
    pieces, left = list[list[ReplicaEffect]](), work
    while left:
        now, left = cut_work(left, most, most_bytes)
        assert now
        pieces.append(now)
        assert not _of_the_log(left), "what is appended does not wait"
    done = [effect for piece in pieces for effect in piece]
    assert _of_the_log(done) == _of_the_log(work)
    assert _applied(done) == _applied(work)
    for piece in pieces:
        applied = [each for each in _applied(piece) if isinstance(each, Record)]
        assert len(applied) <= most
        assert len(applied) <= 1 or sum(len(each.body) for each in applied) <= most_bytes


def test_little_work_is_one_piece() -> None:
    work: list[ReplicaEffect] = [AppendRecords(records=records(4, 2)), ApplyRecords(records=records(1, 3))]
    assert cut_work(work) == (work, [])
    assert cut_work([]) == ([], [])
