from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.store.lease_plan import Hold, Pause, Renew, next_step

HOLD = Hold(ttl_s=6.0, renewed_at=100.0, tried_at=100.0)


def test_the_deadline_counts_from_when_the_renewal_was_sent() -> None:
    assert HOLD.deadline == 100.0 + 0.95 * 6.0


def test_a_lease_is_renewed_every_third_of_its_ttl() -> None:
    assert isinstance(next_step(HOLD, ticked_at=101.9, now=101.9), Pause)
    assert isinstance(next_step(HOLD, ticked_at=102.0, now=102.0), Renew)


def test_a_failed_renewal_is_tried_again_soon_but_not_at_once() -> None:
    failed = Hold(ttl_s=6.0, renewed_at=100.0, tried_at=102.0)
    assert isinstance(next_step(failed, ticked_at=102.0, now=102.1), Pause)
    assert isinstance(next_step(failed, ticked_at=102.5, now=102.5), Renew)


def test_after_the_deadline_it_is_still_tried() -> None:
    assert isinstance(next_step(HOLD, ticked_at=200.0, now=200.0), Renew)


def test_a_main_loop_without_a_tick_for_half_the_ttl_is_not_renewed_for() -> None:
    assert isinstance(next_step(HOLD, ticked_at=100.0, now=103.0), Renew)
    assert isinstance(next_step(HOLD, ticked_at=100.0, now=103.1), Pause)


@given(
    ttl_s=st.floats(2.0, 60.0),
    tried_after=st.floats(0.0, 60.0),
    ticked_after=st.floats(0.0, 60.0),
    now_after=st.floats(0.0, 120.0),
)
def test_pauses_are_short_and_a_silent_loop_is_never_renewed_for(
    ttl_s: float, tried_after: float, ticked_after: float, now_after: float
) -> None:
    hold = Hold(ttl_s=ttl_s, renewed_at=0.0, tried_at=tried_after)
    match next_step(hold, ticked_at=ticked_after, now=max(now_after, tried_after)):
        case Pause(seconds=seconds):
            assert 0.0 < seconds <= ttl_s / 12
        case Renew(timeout_s=timeout_s):
            assert max(now_after, tried_after) - ticked_after <= ttl_s / 2
            assert 0.0 < timeout_s < ttl_s / 2
