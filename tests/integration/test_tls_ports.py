"""Servers and clients of roles over TLS, in one process: who is admitted, and how certificates are replaced."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shoal.core.addresses import split
from shoal.runtime.calls import CallTable
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.metrics_port import MetricsPort, text_answer
from shoal.runtime.server import GrpcServer
from shoal.runtime.server_tls import Callers, ServerTls
from shoal.wire.channels import client_options
from shoal.wire.http.async_pool import AsyncPool
from shoal.wire.http.failure import NoAnswer
from shoal.wire.renewed_channel import RenewedChannel, internal_channel
from shoal.wire.tls import INTERNAL_NAME, Tls, TlsFiles
from tests.support.network.certificates import Authority

MESSAGE_BYTES = 1 << 20
WAIT_S = 10.0
QUESTION = health_pb2.HealthCheckRequest()
HEALTH = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours", "ours")


@asynccontextmanager
async def grpc_server(files: TlsFiles, callers: Callers) -> AsyncIterator[str]:
    server = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES, secured=ServerTls(tls=Tls(files), callers=callers))
    server.enable_reflection("shoal.v1.Worker")
    await server.set_serving(True)
    address = await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def http_server(files: TlsFiles, callers: Callers) -> AsyncIterator[tuple[HttpServer, str]]:
    server = HttpServer(
        host="127.0.0.1",
        port=0,
        table=CallTable(()),
        limits=HttpLimits(message_bytes=MESSAGE_BYTES),
        role="test",
        secured=ServerTls(tls=Tls(files), callers=callers),
    )
    address = await server.start()
    server.set_serving(True)
    try:
        yield server, address
    finally:
        await server.stop(0)


def run(scenario: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    uvloop.run(bounded())


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def served_serial(address: str, authority: Authority, files: TlsFiles) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    context = Tls(files).current().client_context()
    host, port = split(address)
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=INTERNAL_NAME)
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.transport.abort()
    return serial


CALLERS = {
    Callers.ANY: {"none", "client", "internal", "other CA"},  # It asks for no certificate, so it sees none.
    Callers.CERTIFIED: {"client", "internal"},
    Callers.INTERNAL: {"internal"},
}
"""Whom a port answers."""


def clients(authority: Authority, tmp_path: Path) -> dict[str, TlsFiles | None]:
    other = Authority(tmp_path / "other", "other")
    stranger = other.internal()
    return {
        "plain": None,
        "none": TlsFiles(ca=str(authority.ca)),
        "client": authority.client(),
        "internal": authority.internal("caller"),
        "other CA": TlsFiles(ca=str(authority.ca), cert=stranger.cert, key=stranger.key),
    }


@pytest.mark.parametrize("callers", list(Callers))
def test_a_grpc_port_answers_whom_it_admits_and_nobody_else(authority: Authority, tmp_path: Path, callers: Callers) -> None:
    """Health, its stream and reflection stand for all calls: they pass the same check."""

    async def scenario() -> None:
        async with grpc_server(authority.router(), callers) as address:
            answered: dict[str, set[str]] = {}
            refused = set()
            for name, files in clients(authority, tmp_path).items():
                channel = internal_channel(address, client_options(MESSAGE_BYTES), None if files is None else Tls(files))
                health = health_pb2_grpc.HealthStub(channel)
                reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", None, None)
                for call, answer in (
                    ("check", health.Check(QUESTION, timeout=3.0)),
                    ("watch", health.Watch(QUESTION, timeout=3.0).read()),
                    ("reflection", reflect([b"\x3a\x00"], timeout=3.0).read()),
                ):
                    try:
                        assert await answer
                        answered.setdefault(call, set()).add(name)
                    except grpc.aio.AioRpcError as error:
                        refused.add(error.code())
                await channel.close()
            assert answered == dict.fromkeys(("check", "watch", "reflection"), CALLERS[callers])
            assert refused <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED}

    run(scenario())


@pytest.mark.parametrize("callers", list(Callers))
def test_an_http_port_answers_whom_it_admits_and_nobody_else(authority: Authority, tmp_path: Path, callers: Callers) -> None:
    async def scenario() -> None:
        async with http_server(authority.router(), callers) as (_, address):
            answered = set()
            for name, files in clients(authority, tmp_path).items():
                tls = None if files is None else Tls(files)
                pool = AsyncPool(address, named="the server", most=1, message_bytes=MESSAGE_BYTES, tls=tls, server_name=INTERNAL_NAME)
                try:
                    answer = await pool.exchange(HEALTH, b"", asyncio.get_running_loop().time() + 3.0, again=False)
                    assert answer.status == 200
                    answered.add(name)
                except NoAnswer:
                    pass
                pool.close()
            assert answered == CALLERS[callers]

    run(scenario())


def test_new_certificates_are_served_from_the_next_connection_on_and_calls_under_way_end_well(authority: Authority) -> None:
    async def scenario() -> None:
        files, mine = authority.internal(), authority.router()
        async with grpc_server(files, Callers.INTERNAL) as address, http_server(files, Callers.INTERNAL) as (http, http_address):
            channel = internal_channel(address, client_options(MESSAGE_BYTES), Tls(mine))
            assert isinstance(channel, RenewedChannel)
            pool = AsyncPool(
                http_address, named="the server", most=4, message_bytes=MESSAGE_BYTES, tls=Tls(mine), server_name=INTERNAL_NAME
            )
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(QUESTION, timeout=WAIT_S)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

            async def all_work() -> None:
                await health.Check(QUESTION, timeout=WAIT_S)
                answer = await pool.exchange(HEALTH, b"", asyncio.get_running_loop().time() + WAIT_S, again=False)
                assert answer.status == 200

            await all_work()
            before = {await served_serial(each, authority, mine) for each in (address, http_address)}
            first = channel._now
            authority.internal()
            authority.router()

            async def renewed() -> bool:
                await all_work()
                after = {await served_serial(each, authority, mine) for each in (address, http_address)}
                return channel._now is not first and len(after) == 1 and not after & before

            await until(renewed)
            assert first in channel._old  # The stream holds it.
            watch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watch.read()
            await until(_is(lambda: not channel._old and not channel._closing))
            await channel.close()
            pool.close()
            assert http.serving

    run(scenario())


def copy(source: TlsFiles, target: TlsFiles) -> None:
    """Put a certificate and its key in the place of others."""
    Path(target.cert).write_bytes(Path(source.cert).read_bytes())
    Path(target.key).write_bytes(Path(source.key).read_bytes())


def _is(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return holds()

    return ask


def test_a_channel_stays_on_its_certificates_while_servers_refuse_the_new_ones(authority: Authority, tmp_path: Path) -> None:
    async def scenario() -> None:
        stranger = Authority(tmp_path / "other", "other").internal()
        mine = authority.router()
        async with grpc_server(authority.internal(), Callers.INTERNAL) as address:
            tls = Tls(mine)
            channel = RenewedChannel(address, (*client_options(MESSAGE_BYTES), ("grpc.ssl_target_name_override", INTERNAL_NAME)), tls)
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(QUESTION, timeout=WAIT_S)
            first = channel._now
            copy(stranger, mine)

            async def taken() -> bool:
                await health.Check(QUESTION, timeout=WAIT_S)
                return channel._switching is not None

            await until(taken)
            for _ in range(20):
                await health.Check(QUESTION, timeout=WAIT_S)
            assert channel._now is first
            authority.router()
            await until(_is(lambda: channel._newest() is not first))
            await health.Check(QUESTION, timeout=WAIT_S)
            await channel.close()

    run(scenario())


def test_an_authority_that_is_taken_away_is_not_trusted_any_more(authority: Authority, tmp_path: Path) -> None:
    """A context of TLS that is in use would go on trusting it."""

    async def scenario() -> None:
        other = Authority(tmp_path / "other", "other")
        both = tmp_path / "both.crt"
        both.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
        files, theirs = authority.internal(), other.internal()
        serving = TlsFiles(ca=str(both), cert=files.cert, key=files.key)
        caller = TlsFiles(ca=str(authority.ca), cert=theirs.cert, key=theirs.key)
        async with http_server(serving, Callers.INTERNAL) as (_, address), grpc_server(serving, Callers.INTERNAL) as grpc_address:

            async def is_admitted() -> tuple[bool, bool]:
                tls = Tls(caller)
                pool = AsyncPool(address, named="the server", most=1, message_bytes=MESSAGE_BYTES, tls=tls, server_name=INTERNAL_NAME)
                over_http = over_grpc = True
                try:
                    await pool.exchange(HEALTH, b"", asyncio.get_running_loop().time() + 3.0, again=False)
                except NoAnswer:
                    over_http = False
                pool.close()
                async with internal_channel(grpc_address, client_options(MESSAGE_BYTES), tls) as channel:
                    try:
                        await health_pb2_grpc.HealthStub(channel).Check(QUESTION, timeout=3.0)
                    except grpc.aio.AioRpcError:
                        over_grpc = False
                return over_http, over_grpc

            assert await is_admitted() == (True, True)
            both.write_bytes(authority.ca.read_bytes())

            async def none_is_admitted() -> bool:
                return await is_admitted() == (False, False)

            await until(none_is_admitted)

    run(scenario())


def test_metrics_ask_for_any_certificate_of_the_authority_probes_for_none_and_both_follow_their_files(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.internal()
    pages = {path: lambda headers: text_answer(200, "here") for path in ("/metrics", "/live")}
    server = MetricsPort("127.0.0.1", 0, pages, ServerTls(tls=Tls(files), callers=Callers.INTERNAL))
    try:
        for name, caller in clients(authority, tmp_path).items():
            scheme = "http" if caller is None else "https"
            context = None
            if caller is not None:
                context = Tls(caller).current().client_context()
                context.check_hostname = False
            answered = set()
            for path in pages:
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"{scheme}://127.0.0.1:{server.port}{path}", timeout=WAIT_S, context=context) as answer,
                ):
                    assert answer.read() == b"here\n"
                    answered.add(path)
            expected = {"/metrics", "/live"} if name in CALLERS[Callers.CERTIFIED] else {"/live"} if name == "none" else set()
            assert answered == expected, name

        async def scenario() -> None:
            before = await served_serial(f"127.0.0.1:{server.port}", authority, files)
            authority.internal()

            async def renewed() -> bool:
                return await served_serial(f"127.0.0.1:{server.port}", authority, files) != before

            await until(renewed)

        run(scenario())
    finally:
        server.close()


def test_a_silent_caller_holds_up_no_other_one(authority: Authority) -> None:
    """The handshake of one caller must not stand before those of others."""

    async def scenario() -> None:
        files = authority.internal()
        async with http_server(files, Callers.INTERNAL) as (_, address):
            host, port = split(address)
            _, silent = await asyncio.open_connection(host, port)
            await served_serial(address, authority, files)
            silent.transport.abort()

    run(scenario())
