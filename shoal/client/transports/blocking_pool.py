"""The connections of a blocking client to one server: for any number of threads, each connection for one call at a
time.
"""

from __future__ import annotations

import math
import threading

from shoal.client.forks import ForkLock
from shoal.client.transports.blocking_connection import BlockingConnection
from shoal.client.transports.encrypted_connection import Encryption, open_connection
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed
from shoal.wire.http.answer import AnswerReader
from shoal.wire.http.failure import NoAnswer, NoAnswerCause, late, not_reached
from shoal.wire.http.pool import Instead, PoolBook


class _WaitingThread:
    """A thread that waits. given: the connection that it got; None: it may open one."""

    def __init__(self) -> None:
        self.served = threading.Event()
        self.given: BlockingConnection | None = None


class BlockingPool:
    """At most `most` connections to one server. Thread-safe."""

    def __init__(
        self,
        address: str,
        *,
        named: str,
        most: int,
        message_bytes: int,
        connect_s: float,
        clock: Clock,
        encryption: Encryption | None = None,
    ) -> None:
        """address: "host:port". named: the server, for messages. message_bytes: largest body of an answer. connect_s:
        most seconds to open a connection, and then at most a quarter of the time left; math.inf: all of that time.
        encryption: None for plain HTTP.
        """
        self._address, self._named, self._message_bytes, self._clock = address, named, message_bytes, clock
        self._connect_s, self._encryption = connect_s, encryption
        self._lock = ForkLock()
        self._book: PoolBook[BlockingConnection, _WaitingThread] = PoolBook(most)
        self._all: set[BlockingConnection] = set()
        self._closed = self._retired = False

    def exchange(self, head: bytes, body: bytes, deadline: float, *, again: bool) -> AnswerReader:
        """Send a request and return its answer, which is complete or has a fault.

        deadline: on the clock. Raises NoAnswer, and PreconditionFailed once the pool is closed.

        A server that restarts, or that has waited too long, closes its connections. If that happens to an idle one just
        when a request is sent on it, the request is sent once more, on a new one. again: whether that is allowed here.
        It is for reads. A write may be sent again as well, because it carries a request id and is applied once however
        often it arrives. But the flow does that (`shoal.client.flow`), because it also keeps in mind that the first
        attempt may have been applied.
        """
        connection, is_new = self._taken(deadline)
        while True:
            try:
                answer = connection.exchange(head, body, self._message_bytes, deadline)
                break
            except BaseException as error:
                repeats = again and not is_new and isinstance(error, NoAnswer) and error.cause is NoAnswerCause.CLOSED
                if not repeats or self._closed:
                    self._lose(connection)
                    self._check_open()
                    raise
            connection, is_new = self._replaced(connection, deadline), True
        if answer.reusable:
            self._give(connection)
        else:
            self._lose(connection)
        return answer

    def close(self) -> None:
        """End running calls and refuse new ones."""
        with self._lock:
            self._closed = True
            self._close(self._book.all_idle())
            for each in self._all:
                each.abort()
            for waiter in self._book.all_waiting():
                waiter.served.set()

    def retire(self) -> None:
        """Let running calls end, and keep no connection from now on."""
        with self._lock:
            self._retired = True
            self._close(self._book.all_idle())

    def release(self) -> None:
        """Give up all connections in a forked process. They go on in the parent."""
        for each in self._all:
            each.release()

    def _taken(self, deadline: float) -> tuple[BlockingConnection, bool]:
        """Return a connection that no other call uses, and whether it is new."""
        waiter = None
        with self._lock:
            self._check_open()
            taken = self._book.take()
            if taken is Instead.WAIT:
                waiter = _WaitingThread()
                self._book.wait(waiter)
        found = self._waited(waiter, deadline) if waiter is not None else taken
        if not isinstance(found, BlockingConnection):
            return self._opened(deadline), True
        return (found, False) if found.is_usable else (self._replaced(found, deadline), True)

    def _waited(self, waiter: _WaitingThread, deadline: float) -> BlockingConnection | None:
        """Wait for a connection, or for the right to open one: None."""
        try:
            in_time = waiter.served.wait(max(0.0, min(deadline - self._clock(), threading.TIMEOUT_MAX)))
        except BaseException:
            if not self._leave(waiter):
                self._pass_on(waiter.given)
            raise
        self._check_open()
        if not in_time and self._leave(waiter):
            raise late(self._named)
        return waiter.given

    def _leave(self, waiter: _WaitingThread) -> bool:
        """Wait no longer. Return False if the waiter was served before."""
        with self._lock:
            return self._book.leave(waiter)

    def _pass_on(self, given: BlockingConnection | None) -> None:
        if given is None:
            self._free_place()
        else:
            self._give(given)

    def _opened(self, deadline: float) -> BlockingConnection:
        """Open a connection, whose place is taken already."""
        try:
            made = self._connected(deadline)
        except BaseException:
            self._free_place()
            raise
        with self._lock:
            self._all.add(made)
            closed = self._closed
        if closed:
            self._lose(made)
            self._check_open()
        return made

    def _connected(self, deadline: float) -> BlockingConnection:
        now = self._clock()
        until = deadline if self._connect_s == math.inf else now + min(self._connect_s, (deadline - now) / 4)
        try:
            return open_connection(self._address, self._named, until, self._clock, self._encryption)
        except NoAnswer as failure:
            if failure.cause is NoAnswerCause.LATE and self._clock() < deadline:
                raise not_reached(self._named, TimeoutError("timed out")) from None
            raise

    def _replaced(self, old: BlockingConnection, deadline: float) -> BlockingConnection:
        """Close a connection and open another one in its place."""
        with self._lock:
            self._close([old])
        return self._opened(deadline)

    def _give(self, connection: BlockingConnection) -> None:
        """Take back a connection that a call has used."""
        with self._lock:
            if not (self._closed or self._retired):
                now = self._clock()
                self._serve(self._book.give(connection, now), connection)
                self._close(self._book.expired(now))
                return
        self._lose(connection)

    def _lose(self, connection: BlockingConnection) -> None:
        """Close a connection that cannot carry another call."""
        with self._lock:
            self._close([connection])
        self._free_place()

    def _free_place(self) -> None:
        with self._lock:
            self._serve(self._book.gone(), None)

    def _close(self, connections: list[BlockingConnection]) -> None:
        for each in connections:
            self._all.discard(each)
            each.close()

    def _serve(self, waiter: _WaitingThread | None, given: BlockingConnection | None) -> None:
        if waiter is not None:
            waiter.given = given
            waiter.served.set()

    def _check_open(self) -> None:
        if self._closed:
            raise PreconditionFailed("this client is closed")
