"""A real etcd that wants TLS, certificates of clients, and a user: who is let in, who is not, and what they are
told.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from shoal.core.errors import PermissionDenied, Unauthenticated
from shoal.runtime.clock import boot_s
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.lease_connection import EtcdLeaseConnection
from shoal.store.etcd.settings import EtcdLogin, EtcdSettings
from shoal.store.etcd.verdict import Untrusted
from shoal.store.interface import Committed, Delta, Listed, Put, StoreUnavailable, Transaction
from shoal.store.leases import hold_lease
from shoal.wire.tls import LOOK_EVERY_S, Tls, TlsFiles
from tests.support.etcd.process import EtcdProcess
from tests.support.etcd.secure import PASSWORD, USER, SecureEtcd
from tests.support.network.certificates import Authority

CALL_S = 5.0
WITH_USER = EtcdLogin(user=USER, password=PASSWORD)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureEtcd]:
    etcd = SecureEtcd(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    etcd.enable_users()
    yield etcd
    etcd.kill()


@pytest.fixture(scope="module")
def tls(secured: SecureEtcd) -> Tls:
    return secured.tls


def with_store(settings: EtcdSettings, scenario: Callable[[EtcdStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = EtcdStore(settings)
        try:
            async with asyncio.timeout(25):
                await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def settings_for(etcd: EtcdProcess, tls: Tls | None, login: EtcdLogin | None = WITH_USER) -> EtcdSettings:
    return EtcdSettings(endpoints=(etcd.endpoint,), tls=tls, login=login, silence_s=0.5)


def put(key: str, value: bytes) -> Transaction:
    return Transaction(then=(Put(key=key, value=value),))


def test_everything_works_with_certificates_and_a_user_and_tokens_are_renewed(secured: SecureEtcd, tls: Tls) -> None:
    async def scenario(store: EtcdStore) -> None:
        keeper = await hold_lease(store, ttl_s=5, timeout_s=CALL_S, clock=boot_s)
        async with store.watch("/access/") as watch:
            assert isinstance(await anext(watch), Listed)
            assert isinstance(await store.commit(put("/access/a", b"1"), CALL_S), Committed)
            assert isinstance(await anext(watch), Delta)
            # etcd keeps tokens in memory: after a restart it knows none of them, nor does it of ours or of the
            # keeper's. Not in another thread: a child dies with the thread that started it.
            secured.stop()
            secured.start()
            keeper.tick()
            found = await store.get("/access/a", CALL_S)
            assert found is not None
            assert found.value == b"1"
            assert isinstance(await store.commit(put("/access/a", b"2"), CALL_S), Committed)
            news = await anext(watch)
            while not any(entry.value == b"2" for entry in (news.entries if isinstance(news, Listed) else news.changed)):
                news = await anext(watch)
        renewed = keeper.deadline
        while keeper.deadline <= renewed:
            assert not keeper.lost
            keeper.tick()
            await asyncio.sleep(0.05)
        await keeper.aclose()
        assert await store.keep_alive(keeper.lease_id, CALL_S) == 0

    with_store(settings_for(secured, tls), scenario)


def test_a_write_is_sent_again_with_a_new_token_and_applied_once(secured: SecureEtcd, tls: Tls) -> None:
    async def scenario(store: EtcdStore) -> None:
        before = await store.commit(put("/access/once", b"1"), CALL_S)
        store._endpoints.token.take("unknown.1")
        after = await store.commit(put("/access/once", b"2"), CALL_S)
        assert isinstance(before, Committed)
        assert isinstance(after, Committed)
        assert after.revision == before.revision + 1

    with_store(settings_for(secured, tls), scenario)


@pytest.mark.parametrize(
    ("login", "error", "said"),
    [
        (EtcdLogin(user="shoal", password="wrong"), Unauthenticated, "refused user 'shoal': wrong name or password"),
        (EtcdLogin(user="unknown", password="x"), Unauthenticated, "refused user 'unknown'"),
        (EtcdLogin(user="nobody", password="n"), PermissionDenied, "permission denied"),
        # Without a user, etcd takes the common name of our certificate for one; it has none.
        (None, PermissionDenied, "permission denied"),
    ],
)
def test_who_is_not_let_in_is_told(secured: SecureEtcd, tls: Tls, login: EtcdLogin | None, error: type[Exception], said: str) -> None:
    async def scenario(store: EtcdStore) -> None:
        with pytest.raises(error, match=said):
            await store.get("/access/a", CALL_S)
        with pytest.raises(error, match=said):
            await store.grant_lease(5, CALL_S)
        with pytest.raises(error, match=said):
            async with store.watch("/access/") as watch:
                await anext(watch)

    if error is PermissionDenied:
        # Leases ask for no right beyond being somebody.
        async def only_reads(store: EtcdStore) -> None:
            with pytest.raises(error, match=said):
                await store.get("/access/a", CALL_S)

        with_store(settings_for(secured, tls, login), only_reads)
    else:
        with_store(settings_for(secured, tls, login), scenario)


def test_who_does_not_trust_etcd_or_is_not_trusted_is_told(secured: SecureEtcd, tls: Tls, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    foreign = stranger.sign("client")

    async def refused(store: EtcdStore) -> None:
        with pytest.raises(Untrusted, match="check etcd_ca, etcd_cert and etcd_key"):
            await store.get("/access/a", 2.0)

    async def unavailable(store: EtcdStore) -> None:
        with pytest.raises(StoreUnavailable):
            await store.get("/access/a", 2.0)

    with_store(settings_for(secured, Tls(TlsFiles(ca=str(stranger.ca)))), refused)
    not_trusted = dataclasses.replace(stranger.files(foreign), ca=tls.files.ca)
    for other in (Tls(TlsFiles(ca=tls.files.ca)), Tls(not_trusted), None):
        with_store(settings_for(secured, other), unavailable)


def test_the_keeper_of_a_lease_tells_trust_and_login_from_silence(secured: SecureEtcd, tls: Tls, tmp_path: Path) -> None:
    stranger = Tls(TlsFiles(ca=str(Authority(tmp_path, "stranger").ca)))
    wrong = settings_for(secured, tls, EtcdLogin(user="shoal", password="wrong"))
    for settings, error in ((settings_for(secured, stranger), Untrusted), (wrong, Unauthenticated)):
        connection = EtcdStore(settings).lease_connection()
        with pytest.raises(error):
            connection.keep_alive(1, 2.0)  # type: ignore[arg-type]
        connection.close()


class Steps:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_certificates_are_replaced_while_a_store_and_a_lease_are_in_use(secured: SecureEtcd, tmp_path: Path) -> None:
    """Those that etcd does not accept end no lease: the ones before them go on."""
    ours, theirs = secured.authority.sign("changing"), Authority(tmp_path, "stranger").sign("changing")
    clock = Steps()
    tls = Tls(secured.authority.files(ours), clock=clock)

    def changed() -> int:
        clock.now += LOOK_EVERY_S
        return tls.current().version

    async def scenario(store: EtcdStore) -> None:
        lease = await store.grant_lease(60, CALL_S)
        connection = store.lease_connection()

        async def all_work() -> None:
            assert await asyncio.to_thread(connection.keep_alive, lease.id, CALL_S) == 60
            assert isinstance(await store.commit(put("/access/a", b"1"), CALL_S), Committed)

        await all_work()
        proved = ours.certificate.read_bytes(), ours.key.read_bytes()
        for version, (certificate, key) in ((2, (theirs.certificate.read_bytes(), theirs.key.read_bytes())), (3, proved)):
            ours.certificate.write_bytes(certificate)
            ours.key.write_bytes(key)
            assert changed() == version
            for _ in range(3):
                await all_work()
        secured.authority.sign("changing")
        assert changed() == 4
        await all_work()
        assert isinstance(connection, EtcdLeaseConnection)
        assert not connection._before
        connection.close()

    with_store(settings_for(secured, tls), scenario)


def test_a_user_is_no_harm_to_an_etcd_without_authentication(shared_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        assert isinstance(await store.commit(put("/access/a", b"1"), CALL_S), Committed)
        keeper = await hold_lease(store, ttl_s=2, timeout_s=CALL_S, clock=boot_s)
        await keeper.aclose()

    with_store(settings_for(shared_etcd, None), scenario)


def test_a_password_is_not_shown() -> None:
    assert PASSWORD not in repr(EtcdSettings(endpoints=("e:1",), login=WITH_USER))
