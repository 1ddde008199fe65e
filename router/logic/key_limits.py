"""Decides whether a call is within the limits of its key, and which hosts have failed too often. Pure.

Times are seconds of a clock that never jumps back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from shoal.core.api_keys import ApiKey

MOST_FAILURES = 10
"""Failures of a host, with one id of a key, that may come at once; one more is forgiven each second."""

MOST_FAILED = 4_096
"""Hosts and ids that are remembered. When there are more, those that failed the longest ago are forgotten."""


class TokenBucket:
    """Grants `burst` tokens at once and then rate_per_s, on average. It begins full."""

    __slots__ = ("_burst", "_rate_per_s", "_tokens", "_told_s")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._tokens, self._told_s = burst, now_s

    def wait_s(self, now_s: float) -> float:
        """Return the time until there is a token, 0 if there is one."""
        passed_s = now_s - self._told_s
        if passed_s > 0:
            self._tokens, self._told_s = min(self._burst, self._tokens + passed_s * self._rate_per_s), now_s
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate_per_s

    def take(self, now_s: float) -> float:
        """Take a token. Return 0, or the time until there is one: then none was taken."""
        wait_s = self.wait_s(now_s)
        if not wait_s:
            self._tokens -= 1
        return wait_s


class KeyUse:
    """What is under way with one key at this router. is_limited: only `most` calls may run at the same time."""

    __slots__ = ("_bucket", "is_limited", "most", "running")

    def __init__(self, key: ApiKey, now_s: float) -> None:
        self._bucket = TokenBucket(key.rate_per_s, key.burst, now_s) if key.rate_per_s else None
        self.is_limited, self.most = bool(key.concurrency), key.concurrency
        self.running = 0

    def call(self, now_s: float) -> float:
        """Count a call. Return 0, or the time until it may come again: then it was not counted."""
        return 0.0 if self._bucket is None else self._bucket.take(now_s)

    def begin(self) -> bool:
        """Begin a call that takes time. Return whether it may run; if so, `end` has to be called."""
        if self.is_limited and self.running >= self.most:
            return False
        self.running += 1
        return True

    def end(self) -> None:
        """End a call that was begun."""
        self.running -= 1


@dataclass(frozen=True, slots=True)
class FailedCaller:
    """Where authentication failed. key_id: of the key whose secret was wrong; "" for an unknown one."""

    host: str
    key_id: str


class FailedCallers:
    """Says who is refused without a look at the secret, because it was wrong too often.

    A wrong secret of one key does not keep other keys of the same host out.
    """

    def __init__(self, most: int = MOST_FAILED) -> None:
        self._most = most
        self._buckets: OrderedDict[FailedCaller, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, who: FailedCaller, now_s: float) -> float:
        """Return the time for which a caller is refused; 0 if it is not."""
        bucket = self._buckets.get(who)
        return 0.0 if bucket is None else bucket.wait_s(now_s)

    def failed(self, who: FailedCaller, now_s: float) -> None:
        """Note a failure."""
        bucket = self._buckets.pop(who, None) or TokenBucket(1.0, MOST_FAILURES, now_s)
        self._buckets[who] = bucket
        bucket.take(now_s)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)


class SomeOf:
    """Lets at most per_s of what happens through, and counts the others."""

    def __init__(self, per_s: int, now_s: float) -> None:
        self._bucket, self._left_out = TokenBucket(per_s, per_s, now_s), 0

    def through(self, now_s: float) -> int | None:
        """Return how many were left out before this one; None if it is left out itself."""
        if self._bucket.take(now_s):
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


def host_of(peer: str) -> str:
    """Return the host in a peer as gRPC writes it, such as "ipv4:127.0.0.1:5000": "ipv4:127.0.0.1"."""
    return peer.rsplit(":", 1)[0]
