"""Test every transport with TLS: what works, what is refused and how it is told, certificates that are replaced."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.client.transports.tls_probe import LONGEST_S
from shoal.core.errors import TlsMismatch
from shoal.wire.tls import LOOK_EVERY_S, Tls, TlsFiles
from tests.contract.transports.conftest import Asking, TwoPorts
from tests.support.network.certificates import Authority

AT_ONCE_S = 20.0
"""Far below the timeout that is given where an error must come without further attempts."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("others"), "others")


@contextmanager
def serving(files: TlsFiles | None, *, client_required: bool = True) -> Iterator[TwoPorts]:
    made = TwoPorts(tls=None if files is None else Tls(files), client_required=client_required)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(params=["blocking", "asyncio"])
def awaits(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "asyncio")


def given(files: TlsFiles) -> dict[str, str | None]:
    return {"tls_ca": files.ca, "tls_cert": files.cert or None, "tls_key": files.key or None}


def filled(client: Any) -> Any:
    return client.create_collection("things", dim=2)


def test_calls_are_answered_with_a_certificate_and_without_where_none_is_asked_for(authority: Authority, wire: str, awaits: bool) -> None:
    with serving(authority.router()) as router:
        asking = Asking(router, wire, awaits=awaits)
        asking(filled, **given(authority.client()))
        assert [each.name for each in asking(lambda client: client.list_collections(), **given(authority.client()))] == ["things"]
    with serving(authority.router(), client_required=False) as router:
        Asking(router, wire, awaits=awaits)(filled, tls_ca=authority.client().ca)


def test_many_large_messages_go_both_ways(authority: Authority, wire: str) -> None:
    rows = np.random.default_rng(1).random((20_000, 64), dtype=np.float32)
    with serving(authority.router()) as router, router.connect(wire, **given(authority.client())) as client:
        client.create_collection("things", dim=64)
        client.upsert("things", range(len(rows)), rows)
        found = client.get("things", list(range(len(rows))), with_vectors=True)
        assert np.array_equal([each.vector for each in found], rows)


def server_of(authority: Authority, other: Authority, wrong: str) -> TlsFiles | None:
    """Return the files of the server for each wrong input."""
    match wrong:
        case "another name":
            return authority.files(authority.sign("elsewhere", ("example.com",)))
        case "an expired server":
            return authority.files(authority.sign("old", lasts=timedelta(days=-1)))
        case "a plain port":
            return None
        case _:
            return authority.router()


def client_of(authority: Authority, other: Authority, wrong: str) -> dict[str, str | None]:
    """Return what the client is given for each wrong input."""
    ours, theirs = authority.client(), other.client()
    match wrong:
        case "another CA":
            return {"tls_ca": theirs.ca}
        case "no certificate":
            return {"tls_ca": ours.ca}
        case "a certificate of another CA":
            return {"tls_ca": ours.ca, "tls_cert": theirs.cert, "tls_key": theirs.key}
        case "an expired certificate":
            return given(authority.files(authority.sign("past", (), lasts=timedelta(days=-1))))
        case "no TLS":
            return {}
        case _:
            return given(ours)


WRONG = {
    "another CA": "its certificate was not signed by the CA in tls_ca",
    "another name": "its certificate is for other names than this address",
    "an expired server": "its certificate has expired",
    "no certificate": "it asks for a certificate; give tls_cert and tls_key",
    "a certificate of another CA": "it does not accept the certificate in tls_cert",
    "an expired certificate": "it does not accept the certificate in tls_cert, which has expired",
    "a plain port": "it does not speak TLS; leave out tls_ca",
    "no TLS": "it speaks TLS; give tls_ca",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_at_once_in_one_line(authority: Authority, other: Authority, wire: str, awaits: bool, wrong: str) -> None:
    with serving(server_of(authority, other, wrong)) as router:
        address = router.address(wire)
        if wire == "http address":
            # The scheme that fits what the client is given.
            address = f"{'http' if wrong == 'no TLS' else 'https'}://{router.over_http.address}"
        asking = Asking(Elsewhere(router, address), wire, awaits=awaits)
        began = time.monotonic()
        with pytest.raises(shoal.Unavailable) as caught:
            asking(lambda client: client.list_collections(timeout=120.0), **client_of(authority, other, wrong))
        assert isinstance(caught.value, TlsMismatch), caught.value
        assert caught.value.message.startswith(f"{address}: no connection: {WRONG[wrong]}")
        assert "\n" not in caught.value.message
        assert time.monotonic() - began < AT_ONCE_S
        assert router.calls("/shoal.v1.Collections/List") == (0, 0)


@dataclasses.dataclass
class Elsewhere:
    """A router that is reached by another address."""

    router: TwoPorts
    at: str

    def connect(self, wire: str, **options: Any) -> shoal.Client:
        return shoal.connect(self.at, transport=named(wire), **options)

    def connect_async(self, wire: str, **options: Any) -> shoal.AsyncClient:
        return shoal.connect_async(self.at, transport=named(wire), **options)


def named(wire: str) -> Any:
    return "auto" if wire == "http address" else wire


def test_another_router_is_asked_where_one_has_a_wrong_certificate(authority: Authority, other: Authority) -> None:
    with serving(other.router()) as wrong, serving(authority.router()) as right:
        addresses = [wrong.over_grpc.address, right.over_grpc.address]
        with shoal.connect(addresses, transport="grpc", **given(authority.client())) as client:
            client.create_collection("things", dim=2)


def test_a_client_that_was_answered_waits_while_certificates_are_being_replaced(
    authority: Authority, other: Authority, tmp_path: Path
) -> None:
    mine = placed(authority.client(), tmp_path / "client")
    served = authority.router()
    with serving(served) as router, shoal.connect(router.address("grpc"), transport="grpc", **given(mine)) as client:
        client.create_collection("things", dim=2)
        router.over_grpc.stop()
        router.over_grpc._tls = Tls(other.router())
        router.over_grpc.start()
        failed = threading.Event()
        answered: list[int] = []

        def ask() -> None:
            answered.append(len(client.list_collections(timeout=60.0)))

        asking = threading.Thread(target=ask)
        asking.start()
        failed.wait(0.1)
        # The CA of the server is trusted from now on. The client's own certificate is of this CA, too.
        placed(other.client(), tmp_path / "client")
        asking.join(60.0)
        assert answered == [1]


def placed(files: TlsFiles, folder: Path) -> TlsFiles:
    """Put the files into a folder, each by a rename. Return their paths there."""
    folder.mkdir(exist_ok=True)
    paths = {}
    for which in ("key", "cert", "ca"):
        fresh, path = folder / f".{which}", folder / f"{which}.pem"
        shutil.copyfile(getattr(files, which), fresh)
        fresh.replace(path)
        paths[which] = str(path)
    return TlsFiles(**paths)


def test_new_certificates_are_used_by_new_connections_and_no_call_fails(
    authority: Authority, tmp_path: Path, wire: str, awaits: bool
) -> None:
    """The server and the client get new files while calls run one after the other."""
    served, mine = placed(authority.router("r0"), tmp_path / "server"), placed(authority.client("c0"), tmp_path / "client")
    with serving(served) as router:
        asking = Asking(router, wire, awaits=awaits)
        asking(filled, **given(mine))
        if awaits:
            asking(lambda client: rotated_async(client, authority, tmp_path), **given(mine))
        else:
            asking(lambda client: rotated(client, authority, tmp_path), **given(mine))


def rotated(client: shoal.Client, authority: Authority, folder: Path) -> None:
    for turn in (1,):
        renew(authority, folder, turn)
        until = time.monotonic() + 1.5 * LOOK_EVERY_S
        while time.monotonic() < until:
            assert len(client.list_collections()) == 1


async def rotated_async(client: shoal.AsyncClient, authority: Authority, folder: Path) -> None:
    for turn in (1,):
        renew(authority, folder, turn)
        until = time.monotonic() + 1.5 * LOOK_EVERY_S
        while time.monotonic() < until:
            assert len(await client.list_collections()) == 1


def renew(authority: Authority, folder: Path, turn: int) -> None:
    placed(authority.router(f"r{turn}"), folder / "server")
    placed(authority.client(f"c{turn}"), folder / "client")


def test_a_forked_process_has_connections_of_its_own(authority: Authority) -> None:
    context = multiprocessing.get_context("fork")
    with serving(authority.router()) as router, router.connect("http address", **given(authority.client())) as client:
        client.create_collection("things", dim=2)
        told = context.SimpleQueue()
        child = context.Process(target=lambda: told.put([len(client.list_collections()) for _ in range(3)]))
        child.start()
        assert [len(client.list_collections()) for _ in range(3)] == [1, 1, 1]
        assert told.get() == [1, 1, 1]
        child.join(30.0)
        assert router.over_http.accepted == 2


def test_the_probe_is_short() -> None:
    assert LONGEST_S <= 1.0
