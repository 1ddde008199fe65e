"""When to try again, and how long to wait before. The next change of the cluster map ends a wait early."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import DataLoss, ShoalError
from shoal.core.shard_config import ShardConfig

_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.5
_DOUBLINGS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPatience:
    """Both in seconds on the router's clock. deadline: no call may last longer; give_up_at: no new attempt begins
    later.
    """

    deadline: float
    give_up_at: float


def patience_of(*, now: float, timeout_s: float, patience_s: float | None = None) -> RetryPatience:
    """Patience of a call that may take timeout_s seconds and is tried again for patience_s of them (None: for all)."""
    deadline = now + timeout_s
    return RetryPatience(deadline=deadline, give_up_at=deadline if patience_s is None else min(deadline, now + patience_s))


def may_pass(error: ShoalError, config: ShardConfig | None, *, at_primary: bool) -> bool:
    """Whether the same call may succeed later. A damaged primary gives up its term where another replica may lead.

    config: of the shard when it was asked, None when it was not; at_primary: whether only the primary may answer.
    """
    if error.retryable or config is None:
        return error.retryable
    return at_primary and isinstance(error, DataLoss) and any(each != config.primary for each in (*config.isr, *config.elr))


def wait_before_retry(attempt: int, now: float, patience: RetryPatience) -> float | None:
    """Seconds to wait before attempt number `attempt` + 1 (the first is 0), or None to give up."""
    left_s = patience.give_up_at - now
    if left_s <= _FIRST_WAIT_S:
        return None
    # Half of what is left at most, so that there is time for the attempt itself.
    return min(_FIRST_WAIT_S * (1 << min(attempt, _DOUBLINGS)), _LONGEST_WAIT_S, left_s / 2)
