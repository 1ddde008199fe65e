import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.file_budget import LOW_LIMIT, RESERVED_FILES, FileLimit, file_budget, low_limit_words


def test_what_a_process_has_open_itself_is_not_there_for_replicas():
    budget = file_budget(FileLimit(limit=1024, taken=60), 12)
    assert (budget.limit, budget.for_replicas, budget.replicas) == (1024, 1024 - 60 - RESERVED_FILES, 69)
    assert budget.refusal(68) is None
    assert "it needs 12, 8 of the 836 that replicas may have open are left (the process may open 1024" in budget.refusal(69)


@given(st.integers(0, 5000), st.integers(0, 300), st.integers(1, 90))
def test_replicas_are_refused_exactly_where_their_files_would_exceed_the_limit(limit, taken, each):
    budget = file_budget(FileLimit(limit=limit, taken=taken), each)
    for replicas in (0, 1, 5, budget.replicas):
        fits = taken + RESERVED_FILES + (replicas + 1) * each <= limit
        assert (budget.refusal(replicas) is None) == fits


@pytest.mark.parametrize(("limit", "said"), [(0, False), (1024, True), (LOW_LIMIT - 1, True), (LOW_LIMIT, False)])
def test_a_low_limit_is_said_with_what_to_do(limit, said):
    assert ("ulimit -n" in low_limit_words(limit)) == said
