from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.wire.tls import INTERNAL_NAME, LOOK_EVERY_S, Tls, TlsFiles, TlsMaterial, not_after_of
from tests.support.network.certificates import Authority


class Steps:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def next_look(self) -> None:
        self.now += LOOK_EVERY_S


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def shake_hands(server: TlsMaterial, client: TlsMaterial, name: str, *, client_required: bool = True) -> ssl.SSLObject:
    """Return the server's side of a handshake in memory."""
    ends = [ssl.MemoryBIO() for _ in range(4)]
    asked = client.client_context().wrap_bio(ends[0], ends[1], server_hostname=name)
    serving = server.server_context(client_required=client_required).wrap_bio(ends[2], ends[3], server_side=True)
    for _ in range(6):
        for side in (asked, serving):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            ends[2].write(ends[1].read())
            ends[0].write(ends[3].read())
    serving.do_handshake()
    return serving


def test_servers_and_clients_of_one_authority_meet_under_the_internal_name(authority: Authority) -> None:
    worker, router = Tls(authority.internal()).current(), Tls(authority.router()).current()
    seen = shake_hands(worker, router, INTERNAL_NAME).getpeercert()
    assert seen is not None
    assert ("DNS", INTERNAL_NAME) in seen["subjectAltName"]
    shake_hands(router, worker, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(worker, router, "localhost")


def test_the_authority_alone_is_enough_for_a_client_that_nobody_asks_for_a_certificate(authority: Authority) -> None:
    server, client = Tls(authority.router()).current(), Tls(TlsFiles(ca=str(authority.ca))).current()
    assert (client.cert, client.key, client.not_after) == (b"", b"", None)
    assert shake_hands(server, client, "localhost", client_required=False).getpeercert() is None
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client, "localhost")


def test_no_other_authority_is_trusted(authority: Authority, tmp_path: Path) -> None:
    ours, theirs = Tls(authority.internal()).current(), Tls(Authority(tmp_path / "other", "theirs").internal()).current()
    for server, client in ((ours, theirs), (theirs, ours)):
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client, INTERNAL_NAME)


@given(st.integers(1, 60 * 365))
def test_the_end_of_a_certificate_is_read_as_the_library_reads_it(days: int) -> None:
    """Beyond the year 2049 the field has another form."""
    pem = _pem_that_lasts(timedelta(days=days))
    ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    assert datetime.fromtimestamp(not_after_of(pem), UTC) == ends
    assert not_after_of(b"words before it\n" + pem + pem) == ends.timestamp()


def _pem_that_lasts(lasts: timedelta) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Authority(Path(folder), "ours").sign("any", lasts=lasts).certificate.read_bytes()


def test_a_new_certificate_is_taken_at_the_next_look(authority: Authority) -> None:
    files, clock = authority.internal(), Steps()
    tls = Tls(files, clock=clock)
    first = tls.current()
    assert first.version == 1
    authority.internal()
    assert tls.current() is first
    clock.next_look()
    second = tls.current()
    assert (second.version, second.cert, second.key) == (2, Path(files.cert).read_bytes(), Path(files.key).read_bytes())
    assert second.cert != first.cert
    clock.next_look()
    assert tls.current() is second


def test_a_file_that_is_written_again_with_the_same_bytes_is_no_change(authority: Authority) -> None:
    files, clock = authority.internal(), Steps()
    tls = Tls(files, clock=clock)
    Path(files.cert).write_bytes(Path(files.cert).read_bytes())
    clock.next_look()
    assert tls.current().version == 1


def test_a_change_that_leaves_time_and_size_as_they_are_is_seen_while_the_files_are_young(authority: Authority) -> None:
    files, clock = authority.internal(), Steps()
    tls = Tls(files, clock=clock)
    before = os.stat(files.ca)
    ca = Path(files.ca).read_bytes()
    Path(files.ca).write_bytes(b"\n" + ca[:-1])
    os.utime(files.ca, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.next_look()
    assert tls.current().ca == b"\n" + ca[:-1]


def _cut(path: str) -> Callable[[], None]:
    whole = Path(path).read_bytes()
    return lambda: Path(path).write_bytes(whole[: len(whole) // 2]) and None


@pytest.mark.parametrize("harm", ["half a certificate", "half a key", "half an authority", "another key", "no file"])
def test_unusable_files_leave_the_old_ones_in_force_and_are_logged_once(
    authority: Authority, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    files, clock = authority.internal(), Steps()
    tls = Tls(files, clock=clock)
    first, before = tls.current(), {path: Path(path).read_bytes() for path in (files.ca, files.cert, files.key)}
    other = Path(authority.internal("other").key).read_bytes()
    {
        "half a certificate": _cut(files.cert),
        "half a key": _cut(files.key),
        "half an authority": _cut(files.ca),
        "another key": lambda: Path(files.key).write_bytes(other),
        "no file": lambda: Path(files.key).unlink(),
    }[harm]()
    with caplog.at_level(logging.WARNING, "shoal.wire"):
        for _ in range(3):
            clock.next_look()
            assert tls.current() is first
    assert len(caplog.records) == 1
    assert "tls_files_refused" in caplog.text
    for path, content in before.items():
        Path(path).write_bytes(content)
    clock.next_look()
    assert tls.current() is first
    authority.internal()
    clock.next_look()
    assert tls.current().version == 2


def test_unusable_files_are_named_with_the_reason(authority: Authority, tmp_path: Path) -> None:
    files, empty = authority.internal(), tmp_path / "empty"
    empty.write_text("")
    other = authority.internal("other")
    encrypted = tmp_path / "encrypted.key"
    key = load_pem_private_key(Path(files.key).read_bytes(), None)
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    for wrong, field, said in (
        (replace(files, ca=str(tmp_path / "none")), "tls_ca", "cannot be read: No such file"),
        (replace(files, ca=str(empty)), "tls_ca", "holds no certificate in PEM"),
        (replace(files, cert=files.key), "tls_cert", "holds no certificate in PEM"),
        (replace(files, key=files.cert), "tls_key", "holds no key in PEM"),
        (replace(files, key=other.key), "tls_cert", "key values mismatch"),
        (replace(files, key=str(encrypted)), "tls_cert", "the key is encrypted"),
        (TlsFiles(), "tls_ca", "is empty"),
        (TlsFiles(ca=str(empty), setting="etcd"), "etcd_ca", "holds no certificate in PEM"),
    ):
        with pytest.raises(InvalidArgument, match=said) as caught:
            Tls(wrong)
        assert caught.value.details.field == field
        assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    ("given", "lacks"), [({"cert": "c"}, "tls_key"), ({"key": "k"}, "tls_cert"), ({"cert": "c", "key": "k"}, "tls_ca")]
)
def test_files_that_need_others_say_so(given: dict[str, str], lacks: str) -> None:
    with pytest.raises(InvalidArgument, match=f"needs {lacks} too"):
        TlsFiles(**given)


def test_a_certificate_has_the_names_it_was_made_for(authority: Authority) -> None:
    router, client = Tls(authority.router()).current(), Tls(authority.client()).current()
    assert [router.has_name(name) for name in (INTERNAL_NAME, "localhost", "shoal", "shoal-internal.example")] == [True, True, False, False]
    assert not client.has_name(INTERNAL_NAME)
    assert not Tls(TlsFiles(ca=str(authority.ca))).current().has_name(INTERNAL_NAME)


def test_keys_are_not_shown(authority: Authority) -> None:
    assert "PRIVATE" not in repr(Tls(authority.internal()).current())


def test_a_process_that_was_forked_while_its_parent_looked_looks_for_itself(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Steps()
    tls = Tls(authority.internal(), clock=clock)
    parent = os.getpid()
    assert tls._looking.acquire(blocking=False)
    authority.internal()
    clock.next_look()
    assert tls.current().version == 1
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert tls.current().version == 2
