"""Test the sizes of a log by comparison with a plain list of its records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import Seq
from shoal.shard_worker.logic.replication.log_sizes import HEAD_BYTES, STRETCH_BYTES, LogSizes

sizes = st.one_of(st.integers(0, 1_000), st.integers(0, 3 * STRETCH_BYTES))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), sizes),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.tuples(st.just("trim"), st.floats(0, 1)),
    ),
    max_size=60,
)


@given(steps)
def test_they_are_right_but_for_a_stretch(made: list[tuple[str, float]]) -> None:
    log, records, base = LogSizes((), Seq(0)), list[int](), 0
    for kind, value in made:
        last = base + len(records)
        match kind:
            case "append":
                log.append(Seq(last + 1), int(value))
                records.append(HEAD_BYTES + int(value))
            case "truncate":
                cut = base + round(value * len(records))
                log.truncate_after(Seq(cut))
                del records[cut - base :]
            case "trim":
                gone = round(value * len(records))
                log.trimmed(Seq(base + gone))
                base, records = base + gone, records[gone:]
        assert log.bytes_from(Seq(base + len(records) + 1)) == 0
        told = [log.bytes_from(Seq(base + at)) for at in range(1, len(records) + 1)]
        assert told == sorted(told, reverse=True)
        largest = max((int(value) for kind, value in made if kind == "append"), default=0)
        off = sum(kind == "truncate" for kind, _ in made) + 1
        assert all(abs(each - sum(records[at:])) <= off * (STRETCH_BYTES + largest + HEAD_BYTES) for at, each in enumerate(told))


def test_of_an_opened_log_the_files_are_known() -> None:
    log = LogSizes([(Seq(11), 1_000), (Seq(21), 500)], Seq(30))
    assert [log.bytes_from(Seq(seq)) for seq in (1, 11, 16, 21, 26, 30, 31)] == [1_500, 1_500, 1_000, 500, 250, 50, 0]
    log.append(Seq(31), 36)
    assert log.bytes_from(Seq(31)) == 600 // 11 + 1
    log.trimmed(Seq(20))
    assert log.bytes_from(Seq(1)) == 600


def test_an_empty_file_at_the_end_counts_for_nothing() -> None:
    log = LogSizes([(Seq(1), 1_000), (Seq(11), 60)], Seq(10))
    assert log.bytes_from(Seq(1)) == 1_000
    log.append(Seq(11), 36)
    assert log.bytes_from(Seq(1)) == 1_100
