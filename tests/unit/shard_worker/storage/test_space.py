import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import DataLoss
from shoal.shard_worker.storage.space import DiskSpace, Full, Roomy, SpaceLimits, disk_space, disk_words, judge_space, leaves_room

FULL = Full("before")


def used(percent: int) -> DiskSpace:
    return DiskSpace(used_bytes=percent, free_bytes=100 - percent)


@pytest.mark.parametrize(
    ("percent", "before", "after"),
    [
        (0, Roomy(), Roomy),
        (89, Roomy(), Roomy),
        (90, Roomy(), Full),
        (100, Roomy(), Full),
        (90, FULL, Full),
        (89, FULL, Full),
        (86, FULL, Full),
        (86, Roomy(), Roomy),
        (85, FULL, Roomy),
        (0, FULL, Roomy),
    ],
)
def test_upserts_are_refused_at_ninety_and_resumed_at_eighty_five(percent, before, after):
    assert type(judge_space(used(percent), before)) is after


@pytest.mark.parametrize(
    ("percent", "before", "words"),
    [
        (85, Roomy(), ""),
        (86, Roomy(), "disk nearly full: 86.0% of it is in use; upserts are refused from 90% on"),
        (95, Roomy(), "disk full: 95.0% of it is in use"),
        (86, FULL, "disk full: 86.0% of it is in use"),
    ],
)
def test_people_are_told_before_and_while_upserts_are_refused(percent, before, words):
    space = used(percent)
    told = disk_words(space, judge_space(space, before))
    assert told.startswith(words)
    assert bool(told) == bool(words)


def test_the_reason_says_what_is_full_and_what_is_allowed():
    assert judge_space(used(93), Roomy(), SpaceLimits(refuse_at=0.8, resume_at=0.5)) == Full(
        "disk full: 93.0% of it is in use; upserts are refused from 80% on until it is 50% or less, deletes are taken"
    )


@given(st.lists(st.integers(0, 100), max_size=30))
def test_the_state_changes_only_across_its_own_bound(percents):
    state = Roomy()
    for percent in percents:
        following = judge_space(used(percent), state)
        if isinstance(state, Roomy):
            assert isinstance(following, Full) == (percent >= 90)
        else:
            assert isinstance(following, Roomy) == (percent <= 85)
        state = following


@given(st.integers(0, 100).flatmap(lambda percent: st.tuples(st.just(percent), st.integers(0, 100 - percent))))
def test_what_leaves_room_is_what_may_come_without_an_upsert_being_refused_for_it(percent_and_more):
    percent, more = percent_and_more
    assert leaves_room(used(percent), more) == isinstance(judge_space(used(percent + more), Roomy()), Roomy)


def test_a_file_system_without_room_is_full():
    assert isinstance(judge_space(DiskSpace(used_bytes=0, free_bytes=0), Roomy()), Full)


@pytest.mark.parametrize(("refuse_at", "resume_at"), [(0.8, 0.9), (1.1, 0.9), (0.5, 0.0)])
def test_limits_that_contradict_themselves_are_refused(refuse_at, resume_at):
    with pytest.raises(ValueError, match="must hold 0 < resume_at <= refuse_at <= 1"):
        SpaceLimits(refuse_at=refuse_at, resume_at=resume_at)


def test_the_room_of_a_real_file_system(tmp_path):
    found = disk_space(tmp_path)
    assert found.used_bytes > 0
    assert 0 < found.used <= 1
    with pytest.raises(DataLoss, match="is missing"):
        disk_space(tmp_path / "missing")
