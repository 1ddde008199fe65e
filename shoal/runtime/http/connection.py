"""One connection of an HTTP server: requests are answered one at a time, in the order in which they came.

A call whose synchronous door answers is answered where its bytes arrive; another one runs in a task. Calls that can be
answered together wait for those that have come at the same moment (gathering.py). Between two
requests of one connection, other connections get their turn. A peer that closes its side takes back its calls: nothing
tells a peer that has gone from one that only sends no more.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, cast

from shoal.runtime.http.answers import BUSY, ENDING, GO_ON, FailedAnswer, refusal
from shoal.runtime.http.gathering import WaitingCall
from shoal.runtime.http.limits import READ_BYTES
from shoal.runtime.http.request_reader import CallRequest, HealthRequest, ReadPhase, RefusedRequest, RequestReader
from shoal.runtime.http.running_call import Answer, HttpCallContext, RunningCall, answer_at_once, answer_binary, answer_json

if TYPE_CHECKING:
    from shoal.runtime.http.server import HttpServer

_WRITTEN_TOGETHER_BYTES = 64 * 1024
"""A shorter answer is written together with its head; a longer one is not copied for that."""


class HttpConnection(asyncio.Protocol):
    """Serves one peer. The server calls `look` about once a second."""

    def __init__(self, server: HttpServer) -> None:
        self._server, self._limits = server, server.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._reader = RequestReader(
            server.calls, server.limits, server.held, self._loop.time, server.server_id.encode("ascii"), server.seen
        )
        self._rest = b""  # Bytes behind a full queue of requests.
        self._reads = True
        self._call: RunningCall | WaitingCall | None = None
        self._asked: CallRequest | None = None  # The request of that call.
        self._turn: asyncio.Handle | None = None
        self._writes = True
        self._begun = 0  # The request for which began_s holds.
        self._began_s = self._heard_s = self.free_since_s = self._loop.time()
        self._moved_s, self._unsent_bytes = self._began_s, 0
        self._ends_s: float | None = None  # When a connection that has had its last answer is closed.

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.admits(transport):
            self._reader.close()
            self.abort()
            return
        self._peer = self._reader.peer = peer_text(transport.get_extra_info("peername"))
        keep_alive(transport.get_extra_info("socket"))
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        """Read bytes, and answer what can be answered."""
        if self._rest or len(data) > READ_BYTES:
            self._rest += data
            self._read_rest()
        else:
            self._reader.feed(data)
        self._after_reading()

    def eof_received(self) -> bool:
        """Take back the calls of a peer that closes its side, and close ours once all answers are written."""
        self._leave()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Take back the calls of a peer that is gone."""
        self._leave()
        self._transport = None
        self._server.lost(self)

    def pause_writing(self) -> None:
        """Begin no more calls until the peer has taken what was written."""
        self._writes = False
        self._moved_s, self._unsent_bytes = self._loop.time(), self._unsent()

    def resume_writing(self) -> None:
        """Go on."""
        self._writes = True
        self._serve_next()

    # Called by the server.

    @property
    def is_free(self) -> bool:
        """Whether no request is read, waits or runs here."""
        return self._call is None and not self._reader.ready and not self._rest and self._reader.phase is ReadPhase.BETWEEN

    def look(self, now_s: float) -> None:
        """End what takes longer than it may. now_s: on the clock of the event loop."""
        limits = self._limits
        unsent = self._unsent()
        if unsent != self._unsent_bytes:
            self._moved_s, self._unsent_bytes = now_s, unsent
        if unsent and now_s - self._moved_s > limits.stalled_s:
            self.abort()
        elif self._ends_s is not None:
            if now_s > self._ends_s and not unsent:
                self.abort()
        elif self.is_free:
            if now_s - self.free_since_s > limits.idle_s:
                self.end()
        elif self._reads and not self._rest:
            self._look_at_reading(now_s)

    def end(self) -> None:
        """Answer the running call and nothing more, then close. Close at once if none runs."""
        self._reader.close()
        self._drop_ready()
        if self._call is None:
            self._finish()

    def cut(self) -> None:
        """End the running call: it is answered with ENDING."""
        if self._call is not None:
            self._call.end_with(ENDING)

    def abort(self) -> None:
        """Close at once, whatever is not written."""
        if self._transport is not None:
            self._transport.abort()

    def make_room(self) -> None:
        """Close at once. A connection that has had no request is told that there is no room for it."""
        if not self._reader.begun and self._transport is not None:
            self._server.refused(BUSY)
            self._transport.write(self._server.heads.failed(BUSY, close=True) + BUSY.body)
        self._leave()
        if self._transport is not None:
            self._transport.close()

    # Reading.

    def _read_rest(self) -> None:
        """Parse the bytes that wait, in pieces, until enough requests are ready."""
        view, at = memoryview(self._rest), 0
        while at < len(view) and len(self._reader.ready) < self._limits.waiting and self._reader.phase is not ReadPhase.ENDED:
            self._reader.feed(view[at : at + READ_BYTES])
            at += READ_BYTES
        self._rest = b"" if self._reader.phase is ReadPhase.ENDED else bytes(view[at:])

    def _after_reading(self) -> None:
        reader = self._reader
        if reader.phase is not ReadPhase.BETWEEN:
            self._heard_s = self._loop.time()
            if reader.begun != self._begun:
                self._begun, self._began_s = reader.begun, self._heard_s
        if reader.ready:
            self._serve_next()
        elif reader.waits_to_go_on and self._call is None:
            self._let_go_on()
        if len(reader.ready) >= self._limits.waiting or self._rest:
            self._pause_reading()

    def _let_go_on(self) -> None:
        self._reader.waits_to_go_on = False
        if self._transport is not None and self._ends_s is None:
            self._transport.write(GO_ON)

    def _pause_reading(self) -> None:
        if self._reads and self._transport is not None:
            self._reads = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._rest:
            self._read_rest()
        if not self._rest and len(self._reader.ready) < self._limits.waiting and self._transport is not None:
            self._reads = True
            self._heard_s = self._began_s = self._loop.time()
            self._transport.resume_reading()

    def _look_at_reading(self, now_s: float) -> None:
        limits, phase = self._limits, self._reader.phase
        if phase is ReadPhase.HEAD and now_s - self._began_s > limits.head_s:
            late = f"the head of the request did not arrive within {limits.head_s:g} s"
        elif phase is ReadPhase.BODY and now_s - self._heard_s > limits.silent_s:
            late = f"no byte of the request arrived for {limits.silent_s:g} s"
        elif phase is ReadPhase.BODY and now_s - self._began_s > limits.body_s:
            late = f"the request did not arrive within {limits.body_s:g} s"
        else:
            return
        self._reader.refuse(refusal(408, "DEADLINE_EXCEEDED", late))
        self._serve_next()

    # Answering.

    def _serve_next(self) -> None:
        """Answer the next request, if nothing is in its way. The one behind it gets a later turn of the loop."""
        ready = self._reader.ready
        if not ready or self._call is not None or self._turn is not None or not self._writes or self._ends_s is not None:
            return
        request = ready.popleft()
        if type(request) is CallRequest:
            answer = self._called(request)
            if answer is not None:
                self._answered(request, answer)
        elif type(request) is RefusedRequest:
            self._server.refused(request.failure)
            self._fail(request.failure, request.last, bodiless=request.bodiless)
        elif type(request) is HealthRequest:
            self._tell_health(last=request.last)
        self._after_answer()

    def _after_answer(self) -> None:
        """Let the next request have its turn, or wait for one."""
        reader = self._reader
        if not self._reads:
            self._resume_reading()
        if self._call is None and self._ends_s is None:
            if reader.ready:
                if self._turn is None:
                    self._turn = self._loop.call_soon(self._have_turn)
            else:
                self.free_since_s = self._loop.time()
                if reader.waits_to_go_on:
                    self._let_go_on()

    def _have_turn(self) -> None:
        self._turn = None
        self._serve_next()

    def _called(self, request: CallRequest) -> Answer | None:
        """Return the answer to a call, or None if it runs in a task now, or waits for others that come with it."""
        head, server = request.head, self._server
        deadline_s = None if head.timeout_s is None else request.arrived_s + head.timeout_s
        context = HttpCallContext(head, self._peer, self._loop.time, deadline_s)
        together = request.call.together
        if together is None or head.json:
            return self._called_alone(request, context)
        self._asked = request
        self._call = WaitingCall(request, context, together, self._ended, self._go_alone)
        server.gathered.add(self._call)
        return None

    def _go_alone(self, request: CallRequest, context: HttpCallContext) -> None:
        """Carry out a call that was not answered together with others."""
        self._call = self._asked = None
        answer = self._called_alone(request, context)
        if answer is not None:
            self._answered(request, answer)
        self._after_answer()

    def _called_alone(self, request: CallRequest, context: HttpCallContext) -> Answer | None:
        """Return the same as _called, for a call that does not wait for others."""
        head, server = request.head, self._server
        answer = None if head.json else answer_at_once(request, context)
        if isinstance(answer, (bytes, FailedAnswer)):
            return answer
        if len(server.running) >= self._limits.calls:
            return BUSY
        if answer is not None:
            work = answer()
        else:
            work = answer_json(request, context, server.conversions) if head.json else answer_binary(request, context)
        self._asked = request
        self._call = RunningCall(work, method=request.call.path, running=server.running, deadline_s=context.deadline_s, told=self._ended)
        return None

    def _ended(self, answer: Answer) -> None:
        """Write the answer of the call that ran."""
        request = self._asked
        assert request is not None
        self._call = self._asked = None
        self._answered(request, answer)
        self._after_answer()

    def _answered(self, request: CallRequest, answer: Answer) -> None:
        self._reader.give_back(request)
        last = request.last or (self._reader.phase is ReadPhase.ENDED and not self._reader.ready)
        if isinstance(answer, bytes):
            self._write(self._server.heads.ok(len(answer), json=request.head.json, close=last), answer, last)
        else:
            self._fail(answer, last)

    def _fail(self, failure: FailedAnswer, last: bool, *, bodiless: bool = False) -> None:
        self._write(self._server.heads.failed(failure, close=last), b"" if bodiless else failure.body, last)

    def _tell_health(self, *, last: bool) -> None:
        serving = self._server.serving
        body = b'{"status":"SERVING"}' if serving else b'{"status":"NOT_SERVING"}'
        if serving:
            self._write(self._server.heads.ok(len(body), json=True, close=last), body, last)
        else:
            self._fail(FailedAnswer(http_status=503, body=body), last)

    def _write(self, head: bytes, body: bytes, last: bool) -> None:
        transport = self._transport
        if transport is None or self._ends_s is not None:
            return
        if len(body) <= _WRITTEN_TOGETHER_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        if last:
            self._finish()

    # Ending.

    def _finish(self) -> None:
        """End the connection once its answers are written and the peer has closed its side too, or after a while.

        A peer may still send. If the connection were closed at once, these bytes would destroy the last answer.
        """
        transport = self._transport
        if transport is None or self._ends_s is not None:
            return
        self._reader.close()
        self._drop_ready()
        self._ends_s = self._loop.time() + self._limits.linger_s
        if not self._reads:
            self._reads = True
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _leave(self) -> None:
        """Drop everything that is not answered."""
        if self._call is not None:
            self._call.drop()
            self._call = None
        if self._asked is not None:
            self._reader.give_back(self._asked)
            self._asked = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._reader.close()
        self._drop_ready()
        self._ends_s = self._ends_s or self._loop.time()

    def _drop_ready(self) -> None:
        for request in self._reader.ready:
            if type(request) is CallRequest:
                self._reader.give_back(request)
        self._reader.ready.clear()
        self._rest = b""

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


def peer_text(name: Any) -> str:
    """Return the address of a peer as gRPC writes it. name: of the socket: host, port and more; None if it is gone."""
    if not name:
        return "gone"
    host, port = name[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def keep_alive(connected: Any) -> None:
    """Let the kernel notice a peer that is gone without a word, as fast as gRPC does. connected: a socket."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
