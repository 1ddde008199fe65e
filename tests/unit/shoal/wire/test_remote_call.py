from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from shoal.core.errors import ErrorDetails, Internal, InvalidArgument, Unavailable
from shoal.wire.remote_call import call_remote
from shoal.wire.status import details_to_metadata


def failing(error: BaseException) -> Callable[..., Awaitable[None]]:
    async def method(request: object, timeout: float) -> None:
        raise error

    return method


def rpc_error(code: grpc.StatusCode, text: str, trailing: tuple[tuple[str, bytes], ...] = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=text)


def call(method: Callable[..., Awaitable[None]]) -> None:
    asyncio.run(call_remote(method, None, 1.0, "worker at h:1"))


def test_an_answer_is_passed_on_with_its_deadline() -> None:
    async def method(request: str, timeout: float) -> tuple[str, float]:
        return request, timeout

    assert asyncio.run(call_remote(method, "ask", 2.5, "w")) == ("ask", 2.5)


def test_errors_keep_their_kind_and_details() -> None:
    given = InvalidArgument("ids[3] is bad", ErrorDetails(field="ids", index=3, applied={"a/0": "maybe"}))
    with pytest.raises(InvalidArgument, match=r"^ids\[3\] is bad$") as caught:
        call(failing(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, given.message, details_to_metadata(given))))
    assert caught.value.details == given.details


def test_a_broken_connection_names_the_peer() -> None:
    with pytest.raises(Unavailable, match=r"^worker at h:1: no connection: refused, nothing listens there$"):
        call(failing(rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused")))


class TooOld(Internal):
    pass


def test_a_method_that_the_server_does_not_know_has_an_error_of_its_own_if_the_caller_wants() -> None:
    unknown = failing(rpc_error(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))
    with pytest.raises(TooOld, match=r"^worker at h:1: it does not know this call"):
        asyncio.run(call_remote(unknown, None, 1.0, "worker at h:1", unknown=TooOld))
    with pytest.raises(Internal) as caught:
        call(unknown)
    assert type(caught.value) is Internal


def test_a_call_on_a_closed_channel_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="connection was closed"):
        call(failing(grpc.aio.UsageError("Channel is closed.")))


def test_a_call_cancelled_by_its_channel_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="closed during the call"):
        call(failing(asyncio.CancelledError()))


def test_a_caller_that_is_cancelled_stays_cancelled() -> None:
    async def cancelled() -> None:
        async def method(request: object, timeout: float) -> None:
            await asyncio.Event().wait()

        asking = asyncio.create_task(call_remote(method, None, 1.0, "w"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancelled())
