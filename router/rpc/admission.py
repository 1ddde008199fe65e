"""Admits callers that prove to hold an API key, before their requests are read.

The header is `authorization: Bearer <key>`. A header that was accepted is remembered until its key is changed, revoked
or expired, so most calls cost one look-up. No error and no line of a log holds a header.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from shoal.core.access import RULES, Rule
from shoal.core.api_keys import ApiKey, id_of, proves
from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, ResourceExhausted, ShoalError, Unauthenticated, Unavailable
from shoal.router.logic.key_limits import FailedCaller, FailedCallers, KeyUse, host_of
from shoal.router.rpc.audit_lines import AuditLines
from shoal.router.rpc.permission import Permission
from shoal.runtime.calls import UnaryCall
from shoal.runtime.metrics import REQUESTS, Metrics, NoMetrics
from shoal.store.observe_keys import ObservedKeys

_MOST_REMEMBERED = 4_096

_BEARER = re.compile(r"(?i:bearer) +(shoal_[0-9a-f]{12}_[A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyHolder:
    """The holder of a key. calls: as it may make them, by path."""

    key: ApiKey
    use: KeyUse
    calls: dict[str, UnaryCall] = field(default_factory=dict)


class Admission:
    """Decides which calls are served, and as whose.

    keys: those of the cluster. admin: a key that is not among them, None for none. clock: seconds, never jumps;
    wall_ms: ms since 1970.
    """

    def __init__(
        self, *, keys: ObservedKeys, admin: ApiKey | None, clock: Clock, wall_ms: Callable[[], int], metrics: Metrics | None = None
    ) -> None:
        self._keys, self._admin, self._clock, self._wall_ms = keys, admin, clock, wall_ms
        self._metrics, self._audit = metrics or NoMetrics(), AuditLines(clock)
        self._remembered: dict[str, KeyHolder] = {}
        self._uses: dict[str, tuple[ApiKey, KeyUse]] = {}
        self._failed = FailedCallers()

    def guarded(self, call: UnaryCall) -> UnaryCall:
        """Return a call that asks for a key first. Raises KeyError for one that has no rule."""
        return replace(call, admit=partial(self._admit, call, RULES[call.path]))

    def keys_changed(self) -> None:
        """Forget the holders of keys that are not as they were. Call it after each change of the keys."""
        self._remembered = {header: known for header, known in self._remembered.items() if self._key(known.key.id) == known.key}
        self._uses = {id: (key, use) for id, (key, use) in self._uses.items() if self._key(id) == key}

    def _admit(self, call: UnaryCall, rule: Rule, authorization: str, peer: str) -> UnaryCall:
        known = self._remembered.get(authorization)
        try:
            if known is None or (known.key.expires_ms and known.key.expired(self._wall_ms())):
                known = self._identified(authorization, peer)
            wait_s = known.use.call(self._clock())
            if wait_s:
                raise _too_often(known.key, wait_s)
            found = known.calls.get(call.path)
            if found is None:
                permission = Permission(caller=known.key.caller, rule=rule, use=known.use, audit=self._audit, refused=self._refused)
                found = known.calls[call.path] = permission.before(call)
            return found
        except ShoalError as error:
            held = self._remembered.get(authorization)
            self._refused(call, "" if held is None else held.key.id, peer, "", error)
            raise

    def _identified(self, authorization: str, peer: str) -> KeyHolder:
        """Return the holder of the key in a header. Raises Unauthenticated, or Unavailable while no key is known."""
        if not self._keys.listed:
            raise Unavailable("this router has not read the keys of the cluster yet: its store does not answer")
        known = self._remembered.get(authorization)
        if known is None:
            known = self._proved(authorization, peer)
            if len(self._remembered) >= _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[authorization] = known
        if known.key.expired(self._wall_ms()):
            raise Unauthenticated(f"the key {known.key.id} has expired")
        return known

    def _proved(self, authorization: str, peer: str) -> KeyHolder:
        found = _BEARER.fullmatch(authorization)
        key = None if found is None else self._key(id_of(found[1]))
        who, now_s = FailedCaller(host_of(peer), "" if key is None else key.id), self._clock()
        wait_s = self._failed.wait_s(who, now_s)
        if wait_s:
            raise Unauthenticated(f"too many calls without a valid key came from this host; it is refused for {wait_s:.1f} s")
        if found is None or key is None or not proves(found[1], key):
            self._failed.failed(who, now_s)
            raise Unauthenticated(_reason(authorization, well_formed=found is not None))
        return KeyHolder(key=key, use=self._use(key, now_s))

    def _use(self, key: ApiKey, now_s: float) -> KeyUse:
        """Return what counts the calls of a key: one for all its headers."""
        found = self._uses.get(key.id)
        if found is None or found[0] != key:
            found = self._uses[key.id] = key, KeyUse(key, now_s)
        return found[1]

    def _key(self, id: str) -> ApiKey | None:
        return self._admin if self._admin is not None and self._admin.id == id else self._keys.get(id)

    def _refused(self, call: UnaryCall, key: str, peer: str, collection: str, error: ShoalError) -> None:
        self._metrics.measure(REQUESTS, call.path.removeprefix("/"), error.status)(1)
        self._audit.refused(key=key, peer=peer, method=call.path, collection=collection, outcome=error.status)


def _too_often(key: ApiKey, wait_s: float) -> ResourceExhausted:
    message = f"the key {key.id} may make {key.rate_per_s:g} calls a second at each router, and {key.burst:,} at once"
    return ResourceExhausted(message, ErrorDetails(limit="rate_per_s", retry_after_s=wait_s))


def _reason(authorization: str, *, well_formed: bool) -> str:
    if well_formed:
        return "the key is unknown here, or was revoked"
    if authorization:
        return "the header authorization holds no key, it must be: Bearer shoal_..."
    return "this cluster asks for an API key: connect with api_key=, or send the header authorization: Bearer shoal_..."
