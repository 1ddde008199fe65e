"""Test that two replicas with the same history agree, whatever seq each has applied, and that any other change of a
replica is found.
"""

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.fsck.agreement import MOST_NAMED, Comparison, Version

IDS = st.sampled_from([0, 1, 2, "a", "b"])
HISTORIES = st.lists(st.tuples(st.sampled_from(["write", "remove"]), st.lists(IDS, min_size=1, max_size=3)), max_size=12)
"""Histories of records. The first record has seq 1."""


def state(history, through):
    points = {}
    for seq, (kind, ids) in enumerate(history[:through], start=1):
        for point_id in ids:
            if kind == "write":
                points[point_id] = Version(seq=seq, crc=seq)
            else:
                points.pop(point_id, None)
    return points


def compared(behind, ahead, seq, since):
    comparison = Comparison(dict(behind), seq, since)
    for point_id, version in ahead.items():
        comparison.see(point_id, version)
    return comparison.finish()


def named_since(history, seq):
    return {point_id for _, ids in history[seq:] for point_id in ids}


@given(HISTORIES, st.integers(0, 12), st.booleans())
def test_replicas_of_one_history_agree_wherever_they_stopped(history, seq, known):
    seq = min(seq, len(history))
    behind, ahead = state(history, seq), state(history, len(history))
    agreement = compared(behind, ahead, seq, named_since(history, seq) if known else None)
    assert (agreement.differing, agreement.named) == (0, ())
    assert agreement.compared == sum(version.seq <= seq for version in ahead.values())
    assert agreement.untold == (0 if known else len(set(behind) - set(ahead)))
    assert agreement.compared + agreement.changed + agreement.untold == len(set(behind) | set(ahead))


@given(HISTORIES, st.integers(0, 12), st.data())
def test_any_change_of_a_point_that_was_not_written_since_is_found(history, seq, data):
    seq = min(seq, len(history))
    behind, ahead, since = state(history, seq), state(history, len(history)), named_since(history, seq)
    point_id = data.draw(st.sampled_from([0, 1, 2, "a", "b", "never written"]).filter(lambda each: each not in since))
    changed = data.draw(st.sampled_from([behind, ahead]))
    if seq == 0:
        return
    if point_id not in changed:
        changed[point_id] = Version(seq=data.draw(st.integers(1, seq)), crc=1)
    else:
        before = changed[point_id]
        older = [Version(seq=before.seq - 1, crc=before.crc)] if before.seq > 1 else []
        now = data.draw(st.sampled_from([None, Version(seq=before.seq, crc=before.crc + 1), *older]))
        del changed[point_id]
        if now is not None:
            changed[point_id] = now
    agreement = compared(behind, ahead, seq, since)
    assert agreement.differing == 1
    ((named, _),) = agreement.named
    assert named == point_id


def test_what_differs_is_counted_and_the_first_are_named_with_how():
    behind = {1: Version(seq=1, crc=1), 2: Version(seq=2, crc=2), 3: Version(seq=3, crc=3)}
    ahead = {1: Version(seq=1, crc=9), 2: Version(seq=1, crc=2), 4: Version(seq=3, crc=4), 5: Version(seq=4, crc=5)}
    agreement = compared(behind, ahead, 3, {5})
    assert (agreement.compared, agreement.changed, agreement.untold, agreement.differing) == (4, 1, 0, 4)
    assert dict(agreement.named) == {
        1: "record 1 wrote it in both, but vector or payload differ",
        2: "record 2 wrote it in the replica behind, record 1 in the replica ahead",
        3: "record 3 wrote it, but only the replica behind has it",
        4: "record 3 wrote it, but only the replica ahead has it",
    }
    many = compared({}, {number: Version(seq=1, crc=1) for number in range(50)}, 1, ())
    assert (many.differing, len(many.named)) == (50, MOST_NAMED)
