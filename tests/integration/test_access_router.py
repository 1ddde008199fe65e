"""Test a router that asks for keys: every public RPC over every wire, with credentials that are missing, wrong, too
weak or right. The store and the workers are twins; the sockets are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shoal
from shoal.core.access import RULES, InAnswer, InRequest, Rule, Verb, scope_from_text
from shoal.core.api_keys import ApiKey, CreateKey, key_text, made_key
from shoal.router.server import SERVICES, RouterRole
from shoal.router.settings import RouterSettings
from shoal.runtime.key_file import write_key_file
from shoal.store.interface import DeleteKey, Put, Transaction
from shoal.store.key_codecs import encode_key
from shoal.v1 import collections_pb2
from shoal.wire import services
from tests.integration.test_router_process import KEYS, VECTORS, WAIT_S, twin_workers
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

DESCRIBED = {each.full_name: each for each in vars(services).values() if isinstance(each, ServiceDescriptor)}
METHODS = {f"/{name}/{each.name}": each for name in SERVICES for each in DESCRIBED[name].methods}
WIRES = ("grpc", "proto", "json")
CALL_S = 1.0
LIST = "/shoal.v1.Collections/List"


def text(number: int) -> str:
    return key_text(f"{number:012x}", bytes([number]) * 32)


def key(number: int, *scopes: str, **limits: Any) -> ApiKey:
    request = CreateKey(name="app", scopes=tuple(map(scope_from_text, scopes)), **limits)
    return made_key(request, text=text(number), now_ms=time.time_ns() // 1_000_000)


def header(number: int) -> str:
    return f"Bearer {text(number)}"


def message_for(path: str, collection: str = "a") -> Any:
    """A request about the collection, where it names one."""
    message = GetMessageClass(METHODS[path].input_type)()
    place = RULES[path].place
    if isinstance(place, InRequest):
        *above, last = place.path.split(".")
        inner = message
        for name in above:
            inner = getattr(inner, name)
        setattr(inner, last, collection)
    return message


@dataclass
class Scene:
    """A router that asks for keys, and ways to call it. The admin key is number 99."""

    role: RouterRole
    store: MemoryStore
    channel: grpc.aio.Channel

    async def ask(self, wire: str, path: str, authorization: str | None, message: Any = None) -> tuple[str, bytes]:
        """Return the name of the status of a call, and the bytes of its answer."""
        request = message_for(path) if message is None else message
        if wire == "grpc":
            return await self._over_grpc(path, authorization, request.SerializeToString())
        return await self._over_http(path, authorization, request, wire)

    async def _over_grpc(self, path: str, authorization: str | None, data: bytes) -> tuple[str, bytes]:
        metadata = () if authorization is None else (("authorization", authorization),)
        try:
            return "OK", await self.channel.unary_unary(path)(data, timeout=CALL_S, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name, b""

    async def _over_http(self, path: str, authorization: str | None, request: Any, wire: str) -> tuple[str, bytes]:
        body = request.SerializeToString() if wire == "proto" else MessageToJson(request).encode()
        lines = [f"POST {path} HTTP/1.1", "host: h", f"content-type: application/{wire}", "connection: close", "connect-timeout-ms: 1000"]
        lines += [] if authorization is None else [f"authorization: {authorization}"]
        head, answer = await self.exchanged("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
        status = int(head.split(b" ", 2)[1])
        if status == 200:
            return "OK", answer
        code = json.loads(answer)["code"].upper()
        assert (status == 401) == (code == "UNAUTHENTICATED") == (b"\r\nwww-authenticate: Bearer\r\n" in head)
        assert (status == 403) == (code == "PERMISSION_DENIED")
        return code, b""

    async def exchanged(self, data: bytes) -> tuple[bytes, bytes]:
        """Send bytes to the HTTP port, and return head and body of the answer."""
        host, port = self.role.http_address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            got = await asyncio.wait_for(reader.read(), WAIT_S)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        head, _, body = got.partition(b"\r\n\r\n")
        return head + b"\r\n", body

    async def every(self, authorization: str | None, paths: Any = METHODS) -> dict[tuple[str, str], str]:
        """Call every RPC over every wire at the same time. Return the statuses."""
        asked = [(wire, path) for path in paths for wire in WIRES]
        answers = await asyncio.gather(*(self.ask(wire, path, authorization) for wire, path in asked))
        return {(wire, path): answer[0] for (wire, path), answer in zip(asked, answers, strict=True)}

    async def put(self, *keys: ApiKey) -> None:
        await self.store.commit(Transaction(then=tuple(Put(key=KEYS.api_key(each.id), value=encode_key(each)) for each in keys)), WAIT_S)

    async def revoke(self, revoked: ApiKey) -> None:
        await self.store.commit(Transaction(then=(DeleteKey(key=KEYS.api_key(revoked.id)),)), WAIT_S)

    async def until(self, status: str, authorization: str) -> None:
        """Wait until every wire answers a list with this status."""
        async with asyncio.timeout(WAIT_S):
            while set((await self.every(authorization, [LIST])).values()) != {status}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def with_router(folder: Path, story: Callable[[Scene], Awaitable[None]], *keys: ApiKey) -> None:
    file = folder / "admin.key"
    if not file.exists():
        write_key_file(str(file), text(99), "admin_key_file")

    async def life() -> None:
        store = MemoryStore(MemoryCluster(lambda: 0.0))
        async with twin_workers(store):
            role = RouterRole(RouterSettings(port=0, http_port=-1, keys=True, admin_key_file=str(file)), store=store)
            channel = None
            try:
                await role.start()
                channel = grpc.aio.insecure_channel(role.address)
                scene = Scene(role, store, channel)
                await scene.put(*keys)
                for each in keys:
                    if not each.expired(time.time_ns() // 1_000_000):
                        await scene.until("OK", f"Bearer {text(int(each.id, 16))}")
                await story(scene)
            finally:
                if channel is not None:
                    await channel.close(None)
                await role.stop()

    asyncio.run(life())


GARBAGE = ("Bearer", "Bearer shoal_", f"Basic {text(1)}", text(1), f"Bearer {text(1)}x", header(7))


def test_no_rpc_answers_without_a_valid_key(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        for authorization in (None, "", *GARBAGE, header(2)):
            assert set((await scene.every(authorization)).values()) == {"UNAUTHENTICATED"}, authorization

    expired = made_key(CreateKey(name="old", scopes=key(1, "*:read").scopes, lifetime_s=1.0), text=text(2), now_ms=1)
    with_router(tmp_path, story, key(1, "*:read,write,manage,operate"), expired)


def weak_keys() -> list[tuple[ApiKey, str]]:
    """Keys that lack one verb, with that verb."""
    return [(key(number, f"*:{','.join(set(Verb) - {verb})}"), verb) for number, verb in enumerate(Verb, 10)]


def test_no_rpc_answers_a_key_that_is_too_weak_or_for_another_collection(tmp_path: Path) -> None:
    other = key(1, "b*:read,write,manage")

    async def story(scene: Scene) -> None:
        answers = await scene.every(header(1))
        assert {path for (_, path), status in answers.items() if status == "OK"} == {LIST}
        assert {status for (_, path), status in answers.items() if path != LIST} == {"PERMISSION_DENIED"}
        for weak, verb in weak_keys():
            for (wire, path), status in (await scene.every(f"Bearer {text(int(weak.id, 16))}")).items():
                denied = RULES[path].verb == verb and path != LIST
                assert (status == "PERMISSION_DENIED") == denied, (verb, wire, path, status)
                assert status != "UNAUTHENTICATED"

    with_router(tmp_path, story, other, *(weak for weak, _ in weak_keys()))


def right_scope(rule: Rule) -> str:
    return f"{'a*' if isinstance(rule.place, (InRequest, InAnswer)) else '*'}:{rule.verb}"


def test_every_rpc_answers_the_key_that_fits_and_the_admin_key(tmp_path: Path) -> None:
    scopes = sorted({right_scope(rule) for rule in RULES.values()})
    fitting = {scope: key(number, scope) for number, scope in enumerate(scopes, 20)}

    async def story(scene: Scene) -> None:
        for scope, fits in fitting.items():
            paths = [path for path, rule in RULES.items() if right_scope(rule) == scope]
            answers = await scene.every(f"Bearer {text(int(fits.id, 16))}", paths)
            assert not {"UNAUTHENTICATED", "PERMISSION_DENIED"} & set(answers.values()), answers
        answers = await scene.every(header(99))
        assert not {"UNAUTHENTICATED", "PERMISSION_DENIED"} & set(answers.values()), answers

    with_router(tmp_path, story, *fitting.values())


def test_a_list_shows_what_the_key_may_read(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        for number, names in ((1, ["a"]), (2, []), (3, []), (99, ["a"])):
            for wire in ("grpc", "proto"):
                _, answer = await scene.ask(wire, LIST, header(number))
                listed = collections_pb2.ListCollectionsResponse.FromString(answer)
                assert [each.spec.name for each in listed.collections] == names

    with_router(tmp_path, story, key(1, "a*:read"), key(2, "b:read"), key(3, "*:write"))


def test_a_revoked_key_is_refused_over_every_wire_and_others_go_on(tmp_path: Path) -> None:
    gone, stays = key(1, "*:read"), key(2, "*:read")

    async def story(scene: Scene) -> None:
        await scene.revoke(gone)
        await scene.until("UNAUTHENTICATED", header(1))
        assert set((await scene.every(header(2), [LIST])).values()) == {"OK"}
        scene.store.cut()
        assert set((await scene.every(header(2), [LIST])).values()) == {"OK"}

    with_router(tmp_path, story, gone, stays)


def test_limits_hold_over_every_wire(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.put(key(1, "*:read", rate_per_s=0.001, burst=3))
        async with asyncio.timeout(WAIT_S):
            while (await scene.ask("grpc", LIST, header(1)))[0] != "OK":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert [(await scene.ask(wire, LIST, header(1)))[0] for wire in WIRES] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
        assert set((await scene.every(header(1), [LIST])).values()) == {"RESOURCE_EXHAUSTED"}

    with_router(tmp_path, story)


def test_health_is_open_and_reflection_is_not_there(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        check = health_pb2_grpc.HealthStub(scene.channel).Check
        assert (await check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)).status == health_pb2.HealthCheckResponse.SERVING
        head, body = await scene.exchanged(b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert (head.split(b" ", 2)[1], body) == (b"200", b'{"status":"SERVING"}')
        reflect = scene.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await reflect(timeout=WAIT_S).read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    with_router(tmp_path, story)


def test_a_header_that_is_given_twice_is_refused_and_the_body_of_a_stranger_is_not_kept(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        lines = [f"POST {LIST} HTTP/1.1", "host: h", "content-type: application/proto", "content-length: 0", "connection: close"]
        twice = "\r\n".join([*lines, f"authorization: {header(99)}", "authorization: x", "", ""])
        assert (await scene.exchanged(twice.encode()))[0].split(b" ", 2)[1] == b"400"
        metadata = (("authorization", header(99)), ("authorization", header(99)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.channel.unary_unary(LIST)(b"", timeout=WAIT_S, metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        waiting = "\r\n".join([*lines[:3], "content-length: 9999999", "expect: 100-continue", "", ""])
        head, _ = await scene.exchanged(waiting.encode())
        assert head.split(b" ", 2)[1] == b"401"

    with_router(tmp_path, story)


HEADERS = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=90),
        st.from_regex(r"\A(?i:bearer) {1,3}shoal_0{10}0[0-9a-f]_[A-Za-z0-9_-]{43}\Z"),
        st.builds(lambda at, sign: header(1)[:at] + sign + header(1)[at + 1 :], st.integers(0, 60), st.sampled_from("aZ09_- ")),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HEADERS)
def test_no_other_header_is_admitted(tmp_path: Path, headers: list[str]) -> None:
    async def story(scene: Scene) -> None:
        for each in headers:
            right = each.rstrip() == f"{each[:6]} {text(1)}" and each[:6].lower() == "bearer"
            answers = await scene.every(each, [LIST])
            assert set(answers.values()) == {"OK" if right else "UNAUTHENTICATED"} or each != each.strip(), each
        assert set((await scene.every(header(1), [LIST])).values()) == {"OK"}

    with_router(tmp_path, story, key(1, "*:read"))


@pytest.mark.parametrize("transport", ["auto", "http", "grpc"])
def test_both_clients_show_their_key_over_every_transport(tmp_path: Path, transport: Any) -> None:
    def blocking(address: str) -> None:
        with shoal.connect(address, api_key=text(1), transport=transport, timeout=WAIT_S) as client:
            client.upsert("a", list(range(10)), VECTORS)
            for _ in range(3):
                assert len(client.search("a", np.zeros(4), k=3)) == 3
            with pytest.raises(shoal.PermissionDenied, match="may not manage"):
                client.drop_collection("a")
        with shoal.connect(address, api_key=text(2), transport=transport, timeout=WAIT_S) as client:
            for _ in range(2):
                with pytest.raises(shoal.Unauthenticated, match="unknown"):
                    client.count("a")
        stranger = shoal.connect(address, transport=transport, timeout=WAIT_S)
        with stranger, pytest.raises(shoal.Unauthenticated, match="asks for an API key"):
            stranger.count("a")

    async def story(scene: Scene) -> None:
        await asyncio.to_thread(blocking, scene.role.address)
        async with shoal.connect_async(scene.role.address, api_key=text(1), transport=transport, timeout=WAIT_S) as client:
            assert [await client.count("a") for _ in range(3)] == [10, 10, 10]

    with_router(tmp_path, story, key(1, "a:read,write"))
