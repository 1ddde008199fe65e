import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.file_budget import (
    LOW_LIMIT,
    MOST_CONNECTIONS,
    RESERVED_FILES,
    FileLimit,
    file_budget,
    http_connections,
    low_limit_words,
)


def test_half_of_the_files_are_for_replicas_that_are_used_and_the_process_keeps_its_own():
    budget = file_budget(FileLimit(limit=1024, taken=60), at_rest=2, in_use=12)
    files = 1024 - 60 - RESERVED_FILES
    assert (budget.open_at_once, budget.for_replicas, budget.replicas) == (34, files - 34 * 12, 214)
    assert budget.refusal(213) is None
    assert "it needs 2, 0 of the 428 that replicas may have open are left (the process may open 1024" in budget.refusal(214)


@given(st.integers(0, 5000), st.integers(0, 300), st.integers(1, 5), st.integers(1, 90))
def test_however_many_replicas_there_are_and_are_used_the_limit_holds(limit, taken, at_rest, in_use):
    budget = file_budget(FileLimit(limit=limit, taken=taken), at_rest=at_rest, in_use=in_use)
    assert budget.open_at_once >= 1
    most = taken + RESERVED_FILES + budget.replicas * at_rest + budget.open_at_once * in_use
    assert most <= limit or (budget.replicas, budget.open_at_once) == (0, 1)
    for replicas in (0, 1, 5, budget.replicas):
        assert (budget.refusal(replicas) is None) == (replicas < budget.replicas)


@given(st.integers(0, 1 << 30))
def test_files_for_connections_are_not_for_replicas(limit):
    connections = http_connections(limit)
    assert 16 <= connections <= MOST_CONNECTIONS
    assert limit < 256 or connections <= limit // 16
    budget = file_budget(FileLimit(limit=limit, taken=0), at_rest=2, in_use=12, connections=connections)
    assert budget == file_budget(FileLimit(limit=limit, taken=connections), at_rest=2, in_use=12)


@pytest.mark.parametrize(("limit", "said"), [(0, False), (1024, True), (LOW_LIMIT - 1, True), (LOW_LIMIT, False)])
def test_a_low_limit_is_said_with_what_to_do(limit, said):
    assert ("ulimit -n" in low_limit_words(limit)) == said
