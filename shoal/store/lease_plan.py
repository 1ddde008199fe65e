"""When the keeper of a lease renews it, pauses, or may not renew; and until when the lease is surely held. Pure.

Only the rate of clocks is trusted. etcd counts the time to live from when a renewal arrives, which is after it was
sent, so the time it was sent plus 0.95 of the time to live is before the end of the lease on etcd's clock, for rates
within 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

SURE_PART = 0.95
RENEWALS_PER_TTL = 3
RETRIES_PER_TTL = 12
TICKLESS_PART = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A lease as its keeper knows it. Times in seconds on the clock that also runs in suspend.

    renewed_at: when the last renewal that succeeded (or the grant) was sent; tried_at: when the last renewal was sent.
    """

    ttl_s: float
    renewed_at: float
    tried_at: float

    @property
    def deadline(self) -> float:
        """Until then, exclusive, the lease is surely held."""
        return self.renewed_at + SURE_PART * self.ttl_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Renew:
    """Send a renewal now and wait for its answer no longer than timeout_s."""

    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Nothing to do for so many seconds."""

    seconds: float


def next_step(hold: Hold, *, ticked_at: float, now: float) -> Renew | Pause:
    """What the keeper does now. ticked_at: when the main loop was last seen alive.

    A main loop that has not ticked for half the time to live is hung or frozen, and must lose its lease: nobody renews
    it.
    """
    retry_s = hold.ttl_s / RETRIES_PER_TTL
    if now - ticked_at > TICKLESS_PART * hold.ttl_s:
        return Pause(seconds=retry_s)
    last_failed = hold.tried_at > hold.renewed_at
    due = hold.tried_at + retry_s if last_failed else hold.renewed_at + hold.ttl_s / RENEWALS_PER_TTL
    if now >= due:
        return Renew(timeout_s=hold.ttl_s / RENEWALS_PER_TTL)
    return Pause(seconds=min(due - now, retry_s))
