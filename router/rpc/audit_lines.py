"""Writes the audit log: a line of JSON for each call of administration and for refused calls, logger `shoal.audit`.

A line holds key, peer, method, collection and outcome: never vectors, payloads or secrets.
"""

from __future__ import annotations

import json
import logging

from shoal.core.deadline import Clock
from shoal.router.logic.key_limits import SomeOf

log = logging.getLogger("shoal.audit")

MOST_REFUSALS_PER_S = 10


class AuditLines:
    """The audit log of a router. clock: seconds, never jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._refusals = clock, SomeOf(MOST_REFUSALS_PER_S, clock())

    def done(self, *, key: str, peer: str, method: str, collection: str, outcome: str) -> None:
        """Tell of a call of administration that has ended. outcome: OK, or the name of its status."""
        log.info(_line(key=key, peer=peer, method=method, collection=collection, outcome=outcome))

    def refused(self, *, key: str, peer: str, method: str, collection: str, outcome: str) -> None:
        """Tell of a refused call. Of many, only some are told, with the number of those before that are not."""
        left_out = self._refusals.through(self._clock())
        if left_out is None:
            return
        more: dict[str, str | int] = {"left_out": left_out} if left_out else {}
        log.warning(_line(key=key, peer=peer, method=method, collection=collection, outcome=outcome, **more))


def _line(**fields: str | int) -> str:
    return json.dumps(fields)
