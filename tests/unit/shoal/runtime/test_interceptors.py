from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from shoal.core.errors import Internal, InvalidArgument, NotFound, ShoalError, Unavailable
from shoal.runtime.calls import UnaryCall
from shoal.runtime.interceptors import Interceptor, Unreadable, call_table, reader_of
from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, Measure, MetricSpec, NoMetrics
from shoal.v1 import search_pb2

PATH = "/shoal.v1.Search/Search"
REQUEST = search_pb2.SearchRequest(collection="a")
ANSWER = search_pb2.SearchResponse()


class Noted:
    """Metrics that remember every measure."""

    def __init__(self) -> None:
        self.values: list[tuple[str, tuple[str, ...], float]] = []

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        return lambda value: self.values.append((metric.name, labels, value))

    def gather(self, metrics: tuple[MetricSpec, ...], read: object) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...

    def counted(self) -> list[tuple[str, ...]]:
        return [labels for name, labels, _ in self.values if name == REQUESTS.name]

    def timed(self) -> list[float]:
        return [value for name, _, value in self.values if name == REQUEST_SECONDS.name]


class Doors:
    """A call whose doors answer, or raise, what they are told. Remembers which were opened.

    later: what the work of the synchronous door gives; None if it gives no work.
    """

    def __init__(self, *, handle: object = ANSWER, at_once: object = None, later: object = None) -> None:
        self.opened: list[str] = []
        self._handle, self._at_once, self._later = handle, at_once, later

    async def handle(self, request: Any, context: Any) -> Any:
        self.opened.append("handle")
        return given(self._handle)

    def at_once(self, request: Any, context: Any) -> Any:
        self.opened.append("at_once")
        return given(self._at_once) if self._later is None else self.later

    async def later(self) -> Any:
        self.opened.append("later")
        return given(self._later)

    def call(self) -> UnaryCall:
        return UnaryCall(
            path=PATH, request=search_pb2.SearchRequest, response=search_pb2.SearchResponse, handle=self.handle, at_once=self.at_once
        )


def given(outcome: object) -> object:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def answered(call: UnaryCall, request: object = REQUEST) -> object:
    """As a server answers: the synchronous door first. request: a message, or bytes."""

    async def run() -> object:
        context: Any = None
        data = request if isinstance(request, bytes) else REQUEST.SerializeToString()
        answer = None if call.at_once is None else call.at_once(data, context)
        if answer is None:
            return await call.handle(reader_of(call)(data), context)
        return answer if isinstance(answer, bytes) else await answer()

    return asyncio.run(run())


def test_an_answer_of_either_door_is_counted_and_timed_once() -> None:
    for doors, opened, answer in (
        (Doors(), ["at_once", "handle"], ANSWER),
        (Doors(at_once=b"answer"), ["at_once"], b"answer"),
        (Doors(later=b"answer"), ["at_once", "later"], b"answer"),
    ):
        noted = Noted()
        assert answered(call_table([doors.call()], metrics=noted)[PATH]) is answer
        assert doors.opened == opened
        assert noted.counted() == [("shoal.v1.Search/Search", "OK")]
        (took,) = noted.timed()
        assert 0 <= took < 10


@pytest.mark.parametrize("door", ["handle", "at_once", "later"])
@pytest.mark.parametrize(
    ("raised", "seen", "counted"),
    [
        (NotFound("no such collection"), NotFound, "NOT_FOUND"),
        (Unavailable("later"), Unavailable, "UNAVAILABLE"),
        (ZeroDivisionError("division by zero"), Internal, "INTERNAL"),
        (asyncio.CancelledError(), asyncio.CancelledError, "CANCELLED"),
    ],
)
def test_a_failure_of_either_door_is_counted_by_its_status(
    door: str, raised: BaseException, seen: type[BaseException], counted: str
) -> None:
    noted = Noted()
    with pytest.raises(seen):
        answered(call_table([Doors(**{door: raised}).call()], metrics=noted)[PATH])
    assert noted.counted() == [("shoal.v1.Search/Search", counted)]
    assert len(noted.timed()) == 1


def test_an_unknown_error_is_logged_and_named(caplog: pytest.LogCaptureFixture) -> None:
    for door in ("handle", "at_once", "later"):
        caplog.clear()
        with caplog.at_level(logging.ERROR), pytest.raises(Internal, match=rf"{PATH} failed: ZeroDivisionError: division by zero"):
            answered(call_table([Doors(**{door: ZeroDivisionError("division by zero")}).call()])[PATH])
        (record,) = caplog.records
        assert "handler_failed" in record.getMessage()
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ZeroDivisionError)


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_request_are_refused_by_the_door_that_may_wait(data: bytes) -> None:
    doors, noted = Doors(), Noted()
    call = call_table([doors.call()], metrics=noted)[PATH]
    assert isinstance(reader_of(call)(data), Unreadable)
    with pytest.raises(InvalidArgument, match=f"{PATH} cannot read its request"):
        answered(call, data)
    assert doors.opened == ["at_once"], "it answers no bytes that it cannot read"
    assert noted.counted() == [("shoal.v1.Search/Search", "INVALID_ARGUMENT")]


def test_bytes_of_a_request_are_read() -> None:
    assert reader_of(Doors().call())(REQUEST.SerializeToString()) == REQUEST


def naming(name: str, seen: list[str]) -> Interceptor:
    def interceptor(call: UnaryCall) -> UnaryCall:
        async def handle(request: Any, context: Any) -> Any:
            seen.append(name)
            return await call.handle(request, context)

        def at_once(request: Any, context: Any) -> Any:
            seen.append(f"{name} at once")
            return None if call.at_once is None else call.at_once(request, context)

        return call.behind(handle, at_once)

    return interceptor


def test_interceptors_stand_before_both_doors_the_first_one_outermost() -> None:
    seen: list[str] = []
    interceptors = [naming("outer", seen), naming("inner", seen)]
    assert answered(call_table([Doors().call()], interceptors=interceptors)[PATH]) is ANSWER
    assert seen == ["outer at once", "inner at once", "outer", "inner"]


def refusing(error: Exception) -> Interceptor:
    async def handle(request: Any, context: Any) -> Any:
        raise error

    return lambda call: call.behind(handle, None)


@pytest.mark.parametrize(
    ("error", "kind", "counted"), [(NotFound("no"), NotFound, "NOT_FOUND"), (KeyError("defect"), Internal, "INTERNAL")]
)
def test_an_interceptor_may_refuse_and_its_defects_are_guarded_and_counted(error: Exception, kind: type[ShoalError], counted: str) -> None:
    doors, noted = Doors(), Noted()
    call = call_table([doors.call()], metrics=noted, interceptors=[refusing(error)])[PATH]
    with pytest.raises(kind):
        answered(call)
    assert doors.opened == []
    assert noted.counted() == [("shoal.v1.Search/Search", counted)]


def test_an_interceptor_sees_errors_of_the_tree_only() -> None:
    seen: list[type[BaseException]] = []

    def watching(call: UnaryCall) -> UnaryCall:
        async def handle(request: Any, context: Any) -> Any:
            try:
                return await call.handle(request, context)
            except BaseException as error:
                seen.append(type(error))
                raise

        return call.behind(handle, None)

    with pytest.raises(Internal):
        answered(call_table([Doors(handle=OSError("x")).call()], interceptors=[watching])[PATH])
    assert seen == [Internal]


@pytest.mark.parametrize("make", [lambda: None, NoMetrics])
def test_without_metrics_nothing_is_measured(make: Callable[[], Any]) -> None:
    assert answered(call_table([Doors().call()], metrics=make())[PATH]) is ANSWER
