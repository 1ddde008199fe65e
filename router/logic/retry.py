"""Decides whether a call is tried again, and how long to wait first. A change of the cluster map ends a wait early."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shoal.core.deadline import Clock, Deadline
from shoal.core.errors import DataLoss, ShoalError
from shoal.core.shard_config import ShardConfig

_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.5
_DOUBLINGS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPatience:
    """How long a call may take.

    deadline: end of every attempt. attempts: no attempt begins later. lasts_s: seconds from the first failure to
    `attempts`.
    """

    deadline: Deadline
    attempts: Deadline
    lasts_s: float = math.inf

    def from_now(self) -> RetryPatience:
        """Return the patience of a part of the call whose first failure has become known only now."""
        return replace(self, attempts=self.deadline.sooner(self.lasts_s))


def patience_of(*, clock: Clock, timeout_s: float, patience_s: float | None = None) -> RetryPatience:
    """Return the patience of a call that may take timeout_s seconds.

    New attempts may begin for patience_s seconds; None: for timeout_s."""
    deadline = Deadline.after(timeout_s, clock)
    if patience_s is None:
        return RetryPatience(deadline=deadline, attempts=deadline)
    return RetryPatience(deadline=deadline, attempts=deadline.sooner(patience_s), lasts_s=patience_s)


def may_pass(error: ShoalError, config: ShardConfig | None, *, at_primary: bool) -> bool:
    """Return whether the same call may succeed later. A damaged primary resigns if another replica may lead.

    config: of the shard at the time of the call; None if it was not called. at_primary: whether only the primary may
    answer.
    """
    if error.retryable or config is None:
        return error.retryable
    return at_primary and isinstance(error, DataLoss) and any(each != config.primary for each in (*config.isr, *config.elr))


def wait_before_retry(attempt: int, left_s: float) -> float | None:
    """Return the seconds to wait before attempt number `attempt` + 1 (the first is 0); None for no more attempts.

    left_s: seconds in which an attempt may still begin.
    """
    if left_s <= _FIRST_WAIT_S:
        return None
    # At most half of the time left, so that there is time for the attempt itself.
    return min(_FIRST_WAIT_S * (1 << min(attempt, _DOUBLINGS)), _LONGEST_WAIT_S, left_s / 2)
