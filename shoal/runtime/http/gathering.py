"""Calls that can be answered together wait until the event loop has looked at all that has come: never for a time.

A call that is alone then goes its usual way, and so does each that is not answered together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from shoal.runtime.calls import Together
from shoal.runtime.http.answers import FailedAnswer
from shoal.runtime.http.request_reader import CallRequest
from shoal.runtime.http.running_call import Answer, HttpCallContext


class WaitingCall:
    """A call that has come in this turn of the event loop. It ends in the next one, in one of two ways, unless it was
    dropped: `told` gets its answer, or `alone` is called to carry it out.
    """

    __slots__ = ("_dropped", "alone", "context", "request", "together", "told")

    def __init__(
        self,
        request: CallRequest,
        context: HttpCallContext,
        together: Together,
        told: Callable[[Answer], None],
        alone: Callable[[CallRequest, HttpCallContext], None],
    ) -> None:
        """together: of the call."""
        self.request, self.context, self.together, self.told, self.alone = request, context, together, told, alone
        self._dropped = False

    def end_with(self, failure: FailedAnswer) -> None:
        """Do nothing: the call is answered in the next turn of the event loop anyway."""

    def drop(self) -> None:
        """Leave the call out. Nobody waits for its answer."""
        self._dropped = True

    @property
    def is_dropped(self) -> bool:
        """Whether nobody waits for its answer."""
        return self._dropped


class Gatherer:
    """The calls of all connections of a server that wait."""

    def __init__(self) -> None:
        self._waiting: list[WaitingCall] = []

    def add(self, call: WaitingCall) -> None:
        """Let a call wait for those that come in the same turn of the event loop. Call it in that loop."""
        self._waiting.append(call)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1:
            _deliver(deque(_answered(waiting)))
        elif not waiting[0].is_dropped:
            waiting[0].alone(waiting[0].request, waiting[0].context)


def _answered(waiting: list[WaitingCall]) -> list[tuple[WaitingCall, bytes | None]]:
    """Return the answer of each call, None for those that must go alone. Dropped calls are left out."""
    methods: dict[Together, list[WaitingCall]] = {}
    for call in waiting:
        if not call.is_dropped:
            methods.setdefault(call.together, []).append(call)
    found: list[tuple[WaitingCall, bytes | None]] = []
    for together, calls in methods.items():
        several = len(calls) > 1
        answers = together([(call.request.body, call.context) for call in calls]) if several else (None,)
        found.extend(zip(calls, answers, strict=True))
    return found


def _deliver(answered: deque[tuple[WaitingCall, bytes | None]]) -> None:
    """End each call. An error of one connection does not keep the answers of others back."""
    try:
        while answered:
            call, answer = answered.popleft()
            if call.is_dropped:
                continue
            if answer is None:
                call.alone(call.request, call.context)
            else:
                call.told(answer)
    finally:
        if answered:
            asyncio.get_running_loop().call_soon(_deliver, answered)
