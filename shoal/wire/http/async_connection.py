"""One HTTP connection of an asyncio program: used for one call at a time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from shoal.wire.http.answer import AnswerReader, SeenAnswers
from shoal.wire.http.failure import NoAnswer, late, lost, refused
from shoal.wire.http.sockets import JOINED_BYTES, watch_peer


class AsyncConnection(asyncio.Protocol):
    """A connection to a server. named: the server, for messages. ended: called once when the connection has ended."""

    def __init__(self, named: str, ended: Callable[[AsyncConnection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._named, self._ended = named, ended
        self._transport: asyncio.Transport | None = None
        self._answer: AnswerReader | None = None
        self._done: asyncio.Future[NoAnswer | None] | None = None
        self._seen = SeenAnswers()
        self.is_open = False

    async def exchange(self, head: bytes, body: bytes, most_bytes: int, deadline: float) -> AnswerReader:
        """Send a request and return its answer, which is complete or has a fault.

        most_bytes: largest body of an answer. deadline: on the clock of the loop. Raises NoAnswer. A call that fails or
        is cancelled closes the connection.
        """
        if self._transport is None or not self.is_open:
            raise lost(self._named, answered=False)
        self._answer, self._done = AnswerReader(most_bytes, self._seen), self._loop.create_future()
        if len(body) <= JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        expiry = self._loop.call_at(deadline, self._expire)
        answer = self._answer
        try:
            failure = await self._done
            if failure is not None:
                raise failure
        except BaseException:
            self.close()
            raise
        finally:
            expiry.cancel()
            self._answer = self._done = None
        return answer

    def close(self) -> None:
        """End the connection at once. A call that uses it gets NoAnswer."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _expire(self) -> None:
        self._finish(late(self._named))

    def _finish(self, failure: NoAnswer | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(failure)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the new connection."""
        self._transport, self.is_open = cast(asyncio.Transport, transport), True
        watch_peer(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Take bytes of an answer. Without a request, they belong to no answer, and the connection is closed."""
        if self._answer is None or self._done is None or self._done.done():
            self.close()
        elif self._answer.feed(data):
            # What is not sent yet would be taken for the beginning of the next request.
            unsent = self._transport is not None and self._transport.get_write_buffer_size() > 0
            self._answer.reusable = self._answer.reusable and not unsent
            self._finish(None)

    def connection_lost(self, reason: Exception | None) -> None:
        """Note the end of the connection."""
        self.is_open = False
        self._transport = None
        answered = self._answer is not None and self._answer.arrived > 0
        if isinstance(reason, ssl.SSLError) and not answered:
            self._finish(refused(self._named, reason))
        else:
            self._finish(lost(self._named, answered=answered))
        self._ended(self)


def is_connected_to_itself(transport: Any) -> bool:
    """Return whether nobody listens at the port, and the system has given the same port to this side."""
    own: socket.socket = transport.get_extra_info("socket")
    return bool(own.getsockname() == own.getpeername())
