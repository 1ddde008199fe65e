"""The connections of an asyncio program to one server: for any number of tasks, each connection for one call at a time.

Cancelling the task of a call closes its connection, so that the server ends its work.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import ssl
from typing import Any

from shoal.core.addresses import split
from shoal.core.errors import PreconditionFailed
from shoal.wire.http.answer import AnswerReader
from shoal.wire.http.async_connection import AsyncConnection, is_connected_to_itself
from shoal.wire.http.failure import NoAnswer, NoAnswerCause, late, not_reached
from shoal.wire.http.pool import Instead, PoolBook
from shoal.wire.tls import Tls

_Waiter = asyncio.Future[AsyncConnection | None]
"""A call that waits. Result: the connection that it got; None: it may open one, or look whether its time is over."""


class AsyncPool:
    """At most `most` connections to one server. It belongs to one event loop."""

    def __init__(
        self,
        address: str,
        *,
        named: str,
        most: int,
        message_bytes: int,
        connect_s: float = math.inf,
        tls: Tls | None = None,
        server_name: str = "",
    ) -> None:
        """address: "host:port". named: the server, for messages. message_bytes: largest body of an answer. connect_s:
        most seconds to open a connection, and then at most a quarter of the time left; math.inf: all of that time.
        tls: None for plain text. server_name: in the certificate of the server; "" for the host of the address.
        """
        self._host, self._port = split(address)
        self._named, self._message_bytes, self._connect_s = named, message_bytes, connect_s
        self._loop = asyncio.get_running_loop()
        self._book: PoolBook[AsyncConnection, _Waiter] = PoolBook(most)
        self._all: set[AsyncConnection] = set()
        self._closed = self._retired = False
        self._tls, self._server_name = tls, server_name or self._host
        self._tls_version = 0
        self._context: ssl.SSLContext | None = None
        self._outdated: set[AsyncConnection] = set()  # Opened with certificates that were replaced.

    @property
    def is_full(self) -> bool:
        """Whether a call would have to wait until another one ends."""
        return self._book.is_full

    async def exchange(self, head: bytes, body: bytes, deadline: float, *, again: bool) -> AnswerReader:
        """Send a request and return its answer, which is complete or has a fault.

        deadline: on the clock of the loop. Raises NoAnswer, and PreconditionFailed once the pool is closed. again:
        whether to send the request once more, on a new connection, if an idle one ends just when it is sent: see the
        pool of the blocking client.
        """
        connection, is_new = await self._taken(deadline)
        while True:
            try:
                answer = await connection.exchange(head, body, self._message_bytes, deadline)
                break
            except BaseException as error:
                repeats = again and not is_new and isinstance(error, NoAnswer) and error.cause is NoAnswerCause.CLOSED
                if not repeats or self._closed:
                    self._free_place()
                    if not isinstance(error, asyncio.CancelledError):
                        self._check_open("this client was closed during the call")
                    raise
            connection, is_new = await self._opened(deadline), True
        if answer.reusable and connection.is_open:
            self._give(connection)
        else:
            connection.close()
            self._free_place()
        return answer

    def close(self) -> None:
        """End running calls and refuse new ones."""
        self._closed = True
        self._book.all_idle()
        for each in tuple(self._all):
            each.close()
        for waiter in self._book.all_waiting():
            if not waiter.done():
                waiter.set_result(None)

    def retire(self) -> None:
        """Let running calls end, and keep no connection from now on."""
        self._retired = True
        for each in self._book.all_idle():
            each.close()

    async def _taken(self, deadline: float) -> tuple[AsyncConnection, bool]:
        """Return a connection that no other call uses, and whether it is new."""
        self._check_open("this client is closed")
        if self._tls is not None:
            self._follow(self._tls)
        taken = self._book.take()
        found = await self._waited(deadline) if taken is Instead.WAIT else taken
        if isinstance(found, AsyncConnection) and found.is_open:
            return found, False
        return await self._opened(deadline), True

    async def _waited(self, deadline: float) -> AsyncConnection | None:
        """Wait for a connection, or for the right to open one: None."""
        waiter: _Waiter = self._loop.create_future()
        self._book.wait(waiter)
        expiry = self._loop.call_at(deadline, self._expire, waiter)
        try:
            given = await waiter
        except BaseException:
            served = waiter.done() and not waiter.cancelled() and waiter.exception() is None
            if not self._book.leave(waiter) and served:
                self._pass_on(waiter.result())
            raise
        finally:
            expiry.cancel()
        self._check_open("this client was closed during the call")
        return given

    def _expire(self, waiter: _Waiter) -> None:
        if self._book.leave(waiter) and not waiter.done():
            waiter.set_exception(late(self._named))

    def _pass_on(self, given: AsyncConnection | None) -> None:
        if given is None:
            self._free_place()
        else:
            self._give(given)

    def _follow(self, tls: Tls) -> None:
        """Use new certificates for new connections. Those with old ones end: idle ones now, others after their call."""
        newest = tls.current()
        if newest.version != self._tls_version:
            self._tls_version, self._context = newest.version, newest.client_context()
            self._outdated |= self._all
            for each in self._book.all_idle():
                each.close()

    async def _opened(self, deadline: float) -> AsyncConnection:
        """Open a connection, whose place is taken already."""
        version = self._tls_version
        try:
            made = await self._connected(deadline)
        except BaseException:
            self._free_place()
            raise
        if self._closed:
            made.close()
            self._check_open("this client was closed during the call")
        self._all.add(made)
        if version != self._tls_version:
            self._outdated.add(made)
        return made

    async def _connected(self, deadline: float) -> AsyncConnection:
        now = self._loop.time()
        until = deadline if self._connect_s == math.inf else now + min(self._connect_s, (deadline - now) / 4)
        try:
            async with asyncio.timeout_at(until):
                transport, made = await self._loop.create_connection(self._new, self._host, self._port, **self._security())
        except TimeoutError as error:
            if self._loop.time() < deadline:
                raise not_reached(self._named, TimeoutError("timed out")) from None
            raise late(self._named) from error
        except OSError as error:
            raise not_reached(self._named, error) from None
        except UnicodeError:
            raise not_reached(self._named, OSError("name or service not known")) from None
        try:
            to_itself = is_connected_to_itself(transport)
        except OSError:
            # The server has reset it already, as one does that is being killed. Nothing was sent.
            made.close()
            raise not_reached(self._named, ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))) from None
        if to_itself:
            made.close()
            raise not_reached(self._named, ConnectionRefusedError("connection refused"))
        return made

    def _security(self) -> dict[str, Any]:
        return {} if self._tls is None else {"ssl": self._context, "server_hostname": self._server_name}

    def _new(self) -> AsyncConnection:
        return AsyncConnection(self._named, self._ended)

    def _ended(self, connection: AsyncConnection) -> None:
        self._all.discard(connection)
        self._outdated.discard(connection)
        self._book.drop(connection)

    def _give(self, connection: AsyncConnection) -> None:
        """Take back a connection that a call has used."""
        if self._closed or self._retired or connection in self._outdated:
            connection.close()
            self._free_place()
            return
        now = self._loop.time()
        while (waiter := self._book.give(connection, now)) is not None:
            # A task that was cancelled in this turn of the loop has not left yet.
            if not waiter.done():
                waiter.set_result(connection)
                break
        for old in self._book.expired(now):
            old.close()

    def _free_place(self) -> None:
        while (waiter := self._book.gone()) is not None:
            if not waiter.done():
                waiter.set_result(None)
                return

    def _check_open(self, message: str) -> None:
        if self._closed:
            raise PreconditionFailed(message)
