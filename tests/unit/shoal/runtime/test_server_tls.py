"""What a role makes of its settings for TLS, and whom a port admits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from shoal.core.errors import InvalidArgument
from shoal.router.settings import RouterSettings
from shoal.runtime.metrics import CERTIFICATE_END, NoMetrics
from shoal.runtime.role_settings import RoleSettings
from shoal.runtime.server_tls import Callers, InternalOnly, ServerTls, grpc_interceptors, measure_certificate, role_tls, server_tls
from shoal.wire.tls import INTERNAL_NAME, Tls, TlsFiles
from tests.support.network.certificates import Authority


def settings_with(files: TlsFiles) -> RoleSettings:
    return RoleSettings(host="0.0.0.0", tls_ca=files.ca, tls_cert=files.cert, tls_key=files.key)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(Authority(tmp_path, "ours").internal())


def test_a_role_on_loopback_has_no_tls_and_nothing_stands_before_its_calls(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert role_tls(RoleSettings()) is None
    assert not caplog.records
    assert server_tls(None, Callers.INTERNAL) is None
    assert grpc_interceptors(None) == ()


def test_an_insecure_role_is_warned_about_at_each_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert [role_tls(RoleSettings(host="::", insecure=True)) for _ in range(2)] == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert caplog.text.count("insecure host=::") == 2


def test_a_certificate_of_a_client_is_none_of_a_role(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    assert role_tls(settings_with(authority.router())) is not None
    with pytest.raises(InvalidArgument, match=r"tls_cert .*client\.crt is no certificate of a role.*shoal cert init") as caught:
        role_tls(settings_with(authority.client()))
    assert caught.value.details.field == "tls_cert"


def test_clients_can_be_asked_for_a_certificate_only_over_tls() -> None:
    with pytest.raises(InvalidArgument, match="tls_client_required is true, it needs tls_ca") as caught:
        RouterSettings(tls_client_required=True)
    assert caught.value.details.field == "tls_cert"
    assert RouterSettings(tls_client_required=True, tls_ca="a", tls_cert="b", tls_key="c").tls_files.given


@pytest.mark.parametrize(
    ("certificate", "internal"),
    [
        (None, False),
        ({}, False),
        ({"subjectAltName": (("DNS", INTERNAL_NAME),)}, True),
        ({"subjectAltName": (("IP Address", "10.0.0.1"), ("DNS", INTERNAL_NAME))}, True),
        ({"subjectAltName": (("DNS", f"{INTERNAL_NAME}.example"), ("email", INTERNAL_NAME), ("URI", INTERNAL_NAME))}, False),
        ({"subject": ((("commonName", INTERNAL_NAME),),)}, False),
    ],
)
def test_only_a_dns_name_makes_a_caller_internal(tls: Tls, certificate: Mapping[str, Any] | None, internal: bool) -> None:
    assert ServerTls(tls=tls, callers=Callers.INTERNAL).admits(certificate) is internal
    assert ServerTls(tls=tls, callers=Callers.CERTIFIED).admits(certificate)
    assert [ServerTls(tls=tls, callers=callers).client_required for callers in Callers] == [False, True, True]


class RefusedCall(Exception):
    """What `abort` raises."""


class CallOf:
    """The context of a gRPC call. names: in the certificate of the caller."""

    def __init__(self, *names: bytes) -> None:
        self._names = names

    def auth_context(self) -> Mapping[str, Any]:
        return {"x509_subject_alternative_name": list(self._names)} if self._names else {}

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        assert code is grpc.StatusCode.PERMISSION_DENIED
        raise RefusedCall(details)


def behind_check(handler: Any) -> Any:
    async def found(_: Any) -> Any:
        return handler

    return asyncio.run(InternalOnly().intercept_service(found, None))  # type: ignore[arg-type]


def test_no_request_of_a_stranger_is_parsed() -> None:
    parsed: list[bytes] = []

    def parse(data: bytes) -> bytes:
        parsed.append(data)
        return data

    async def whole(request: bytes, _: Any) -> bytes:
        return b"answer to " + request

    async def pieces(request: Any, _: Any) -> AsyncIterator[bytes]:
        if isinstance(request, bytes):
            yield b"answer to " + request
        else:
            async for each in request:
                yield b"answer to " + each

    async def sent() -> AsyncIterator[bytes]:
        yield b"q"

    handlers = {
        "unary_unary": grpc.unary_unary_rpc_method_handler(whole, parse),
        "unary_stream": grpc.unary_stream_rpc_method_handler(pieces, parse),
        "stream_stream": grpc.stream_stream_rpc_method_handler(pieces, parse),
    }

    async def ask(form: str, context: CallOf) -> list[bytes]:
        made = getattr(guarded[form], form)(sent() if form.startswith("stream") else b"q", context)
        return [each async for each in made] if form.endswith("stream") else [await made]

    guarded = {form: behind_check(handler) for form, handler in handlers.items()}
    for form in handlers:
        assert guarded[form].request_deserializer is None
        for names in ((), (b"localhost",), (b"shoal-internal.example",)):
            with pytest.raises(RefusedCall, match="must have the name shoal-internal"):
                asyncio.run(ask(form, CallOf(*names)))
    assert parsed == []
    for form in handlers:
        assert asyncio.run(ask(form, CallOf(b"localhost", INTERNAL_NAME.encode()))) == [b"answer to q"]
    assert parsed == [b"q"] * 3


def test_what_is_not_served_stays_unknown() -> None:
    assert behind_check(None) is None


def test_the_end_of_a_certificate_is_measured_where_there_is_one(tls: Tls) -> None:
    gathered: list[Any] = []

    class Kept(NoMetrics):
        def gather(self, metrics: Any, read: Any) -> None:
            gathered.append((metrics, read))

    measure_certificate(Kept(), None, "router")
    assert gathered == []
    measure_certificate(Kept(), tls, "router")
    ((metrics, read),) = gathered
    assert metrics == (CERTIFICATE_END,)
    assert [(sample.value, sample.labels) for sample in read()] == [(tls.current().not_after, ("router",))]
