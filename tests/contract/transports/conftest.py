"""A router of dictionaries on two real ports, and every transport to it: blocking and asyncio, over each wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import shoal
from shoal.core.requests import Request
from shoal.wire.tls import Tls
from tests.twins.connect_server import ConnectServer
from tests.twins.grpc_server import PlainGrpcServer
from tests.twins.router_answers import DictCluster
from tests.twins.router_bytes import answered_in_bytes

WIRES = ("grpc", "http", "auto", "http address")
SERVER_ID = "the-router"
PATIENCE_S = 60.0


@dataclass
class TwoPorts:
    """A router. answer: of its calls, which a test may replace. over_http, over_grpc: the servers of its two ports.
    tls, client_required: as the servers take them.
    """

    answer: Callable[[str, Request, float], Any] = field(default_factory=DictCluster)
    tls: Tls | None = None
    client_required: bool = True

    def __post_init__(self) -> None:
        secured: dict[str, Any] = {"tls": self.tls, "client_required": self.client_required}
        self.over_http = ConnectServer(self._in_bytes, server_id=SERVER_ID, **secured)
        says = [("shoal-http", f":{self.over_http.port}"), ("shoal-server", SERVER_ID)]
        self.over_grpc = PlainGrpcServer(self._in_bytes, says=says, **secured)

    def _in_bytes(self, path: str, data: bytes, timeout_s: float) -> bytes:
        return answered_in_bytes(self.answer, "router", path, data, timeout_s)

    def start(self) -> None:
        self.over_http.start()
        self.over_grpc.start()

    def stop(self) -> None:
        self.over_http.stop()
        self.over_grpc.stop()

    def address(self, wire: str) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{self.over_http.address}" if wire == "http address" else self.over_grpc.address

    def connect(self, wire: str, **options: Any) -> shoal.Client:
        return shoal.connect(self.address(wire), **_named(wire), **options)

    def connect_async(self, wire: str, **options: Any) -> shoal.AsyncClient:
        return shoal.connect_async(self.address(wire), **_named(wire), **options)

    def calls(self, path: str) -> tuple[int, int]:
        """How many calls of this path came over HTTP, and over gRPC."""
        return sum(each.path == path for each in self.over_http.requests), self.over_grpc.paths.count(path)


def _named(wire: str) -> dict[str, Any]:
    return {"transport": "auto" if wire == "http address" else wire}


@pytest.fixture
def router() -> Iterator[TwoPorts]:
    made = TwoPorts()
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def on_a_loop(coroutine: Any) -> Any:
    """Run a coroutine. Nothing that it began may be left when it ends."""

    async def whole() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            result = await coroutine
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(whole())


class Asking:
    """The same questions through a blocking client and through one for asyncio. Each opens a client and closes it."""

    def __init__(self, router: TwoPorts, wire: str, *, awaits: bool) -> None:
        self._router, self.wire, self.awaits = router, wire, awaits

    def __call__(self, ask: Callable[[Any], Any], **options: Any) -> Any:
        """Return what `ask(client)` returns, or raise what it raises."""
        if not self.awaits:
            with self._router.connect(self.wire, **options) as client:
                return ask(client)

        async def asked() -> Any:
            async with self._router.connect_async(self.wire, **options) as client:
                return await ask(client)

        return on_a_loop(asked())


@pytest.fixture(params=["blocking", "asyncio"])
def asking(request: pytest.FixtureRequest, router: TwoPorts, wire: str) -> Asking:
    return Asking(router, wire, awaits=request.param == "asyncio")
