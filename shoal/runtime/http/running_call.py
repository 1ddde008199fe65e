"""A call that came by HTTP: its context, and the task that answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from shoal.core.deadline import Deadline
from shoal.core.errors import InvalidArgument, ShoalError
from shoal.core.turns import Asker
from shoal.runtime.calls import Later
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.http.answers import CANCELLED, TOO_LATE, FailedAnswer, defect, failure_of
from shoal.runtime.http.request_head import CallHead, metadata_of
from shoal.runtime.http.request_reader import CallRequest
from shoal.runtime.interceptors import Unreadable
from shoal.runtime.logs import event
from shoal.wire.connect_json import message_from_json, message_to_json

log = logging.getLogger("shoal.server")

MUCH_JSON_BYTES = 16 * 1024
"""JSON of more bytes is read and written in a thread: it takes about a millisecond for each 10 KiB."""


class HttpCallContext:
    """The CallContext of a call by HTTP. peer: the address of the other end, as gRPC writes it."""

    __slots__ = ("_clock", "_deadline_s", "_head", "_peer")

    def __init__(self, head: CallHead, peer: str, clock: Callable[[], float], deadline_s: float | None) -> None:
        """deadline_s: on the clock; None without a deadline."""
        self._head, self._peer, self._clock, self._deadline_s = head, peer, clock, deadline_s

    @property
    def deadline_s(self) -> float | None:
        """Return the deadline on the clock of the event loop; None without one."""
        return self._deadline_s

    def time_remaining(self) -> float | None:
        """See CallContext."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._clock())

    def peer(self) -> str:
        """Return the address of the other end; if the client named itself, that name behind the host."""
        client = self._head.client
        return f"{self._peer.rsplit(':', 1)[0]}/{client}" if client else self._peer

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """See CallContext."""
        return metadata_of(self._head.fields)


Answer = bytes | FailedAnswer


class RunningCall:
    """A call that runs in `task`. When it has ended, `told` gets its answer, unless it was dropped."""

    def __init__(
        self, work: Any, *, method: str, running: set[RunningCall], deadline_s: float | None, told: Callable[[Answer], None]
    ) -> None:
        """work: coroutine that returns the bytes of the answer. deadline_s: on the clock of the loop, None for none.

        running: holds this call until its task has ended.
        """
        loop = asyncio.get_running_loop()
        self._method, self._running, self._told = method, running, told
        self._instead: FailedAnswer | None = None
        running.add(self)
        self.task: asyncio.Task[bytes] = loop.create_task(work)
        self.task.add_done_callback(self._ended)
        self._timer = None if deadline_s is None else loop.call_at(deadline_s, self.end_with, TOO_LATE)

    def end_with(self, failure: FailedAnswer) -> None:
        """Cancel the work. It is answered with `failure`."""
        self._instead = failure
        self.task.cancel()

    def drop(self) -> None:
        """Cancel the work. Nobody waits for its answer."""
        self._told = _untold
        self.task.cancel()

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._running.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        told, self._told = self._told, _untold
        told(self._answer(task))

    def _answer(self, task: asyncio.Task[bytes]) -> Answer:
        if task.cancelled():
            return self._instead or CANCELLED
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, ShoalError):
            return failure_of(error)
        return _unknown(self._method, error)


def answer_at_once(request: CallRequest, context: HttpCallContext) -> Answer | Later | None:
    """Return the answer of the synchronous door of a call, in bytes, or the work that gives it in a task. Returns None
    if the handler of the call has to run in a task.
    """
    call = request.call
    if call.at_once is None:
        return None
    try:
        return call.at_once(request.body, context)
    except ShoalError as error:
        return failure_of(error)
    except Exception as error:
        return _unknown(call.path, error)


def _unknown(method: str, error: BaseException) -> FailedAnswer:
    log.error(event("handler_failed", method=method), exc_info=error)
    return defect(method, error)


def _untold(answer: Answer) -> None:
    """Do nothing with an answer for which nobody waits."""


async def answer_binary(request: CallRequest, context: HttpCallContext) -> bytes:
    """Return the bytes of the answer to a call."""
    answer = await request.call.handle(request.head.served.read(request.body), context)
    return answer.SerializeToString()  # type: ignore[no-any-return]


async def answer_json(request: CallRequest, context: HttpCallContext, conversions: FairPool) -> bytes:
    """Return the answer to a call as JSON. Much JSON is read and written in a thread of `conversions`."""
    call = request.call

    async def aside(size: int, work: Callable[[], Any]) -> Any:
        remaining_s = context.time_remaining()
        deadline: Deadline | None = None if remaining_s is None else conversions.deadline(remaining_s)
        return await conversions.aside(lambda _: work(), Asker(caller=context.peer()), deadline, long=size > MUCH_JSON_BYTES)

    def read() -> Any:
        try:
            return message_from_json(call.request, request.body)
        except InvalidArgument as error:
            return Unreadable(error.message)

    answer = await call.handle(await aside(len(request.body), read), context)
    written: bytes = await aside(answer.ByteSize(), lambda: message_to_json(answer))
    return written
