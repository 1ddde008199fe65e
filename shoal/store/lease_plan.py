"""Decides when a lease is renewed, and when it must not be renewed; knows until when it is surely held. Pure.

Clocks may differ, but their rates must agree within 5 %. etcd counts the time to live from the arrival of a renewal,
which is later than its sending. So the time of sending plus 0.95 of the time to live comes before the end of the lease
on etcd's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

SURE_PART = 0.95
RENEWALS_PER_TTL = 3
RETRIES_PER_TTL = 12
TICKLESS_PART = 0.5
TICKS_PER_TTL = 10
"""How often an event loop ticks in one time to live."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A lease as its keeper knows it. Times are seconds on a clock that also counts suspended time.

    renewed_at: when the last successful renewal, or the grant, was sent. tried_at: when the last renewal was sent.
    """

    ttl_s: float
    renewed_at: float
    tried_at: float

    @property
    def deadline(self) -> float:
        """Time before which the lease is surely held."""
        return self.renewed_at + SURE_PART * self.ttl_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Renew:
    """Send a renewal now and wait for its answer no longer than timeout_s."""

    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Do nothing for this many seconds."""

    seconds: float


def next_step(hold: Hold, *, ticked_at: float, now: float) -> Renew | Pause:
    """Return what the keeper has to do now. ticked_at: time of the main loop's last tick.

    A main loop that has not ticked for half the time to live hangs or is frozen. It must lose its lease, so the keeper
    does not renew it.
    """
    retry_s = hold.ttl_s / RETRIES_PER_TTL
    if now - ticked_at > TICKLESS_PART * hold.ttl_s:
        return Pause(seconds=retry_s)
    last_failed = hold.tried_at > hold.renewed_at
    due = hold.tried_at + retry_s if last_failed else hold.renewed_at + hold.ttl_s / RENEWALS_PER_TTL
    if now >= due:
        return Renew(timeout_s=hold.ttl_s / RENEWALS_PER_TTL)
    return Pause(seconds=min(due - now, retry_s))
