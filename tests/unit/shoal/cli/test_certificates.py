"""Test `shoal cert`: what certificates say and open, what is refused, that nothing is overwritten or half-written."""

import os
import re
import socket
import ssl
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from shoal.cli import certificate_folder, certificate_maker
from shoal.cli.certificate_maker import CA_DAYS, Leaf, checked_host, new_ca, new_leaf
from shoal.core.errors import InvalidArgument, PreconditionFailed

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
FILES = ["ca.key", "ca.pem", "client.key", "client.pem", "internal.key", "internal.pem", "router.key", "router.pem"]


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}


def serials(folder: Path) -> dict[str, int]:
    return {each.stem: x509.load_pem_x509_certificate(each.read_bytes()).serial_number for each in sorted(folder.glob("*.pem"))}


def test_init_makes_a_folder_for_its_owner_alone_and_says_what_to_do_next(shoal, tmp_path):
    folder = tmp_path / "new" / "certs"
    done = shoal("cert", "init", folder, "--host", "Search.example.com", "--host", "10.0.0.5")
    assert (done.code, done.err) == (0, "")
    assert sorted(contents(folder)) == FILES
    assert os.listdir(folder.parent) == ["certs"]
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
    assert modes == {name: 0o600 if name.endswith(".key") else 0o644 for name in FILES}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for said in ("search.example.com, 10.0.0.5, localhost, 127.0.0.1, ::1, shoal-internal", "365", f'tls_cert = "{folder}/internal.pem"'):
        assert said in done.out
    assert f'shoal.connect("search.example.com:7600", tls_ca="{folder}/ca.pem", tls_cert="{folder}/client.pem"' in done.out


def test_show_prints_what_a_folder_and_a_file_hold(shoal, tmp_path):
    folder = tmp_path / "certs"
    made = shoal("cert", "init", folder, "--days", 30, "--json").document["certificates"]
    assert shoal("cert", "show", folder, "--json").document["certificates"] == made
    assert [(Path(each["file"]).name, each["is_ca"]) for each in made] == [
        ("ca.pem", True),
        ("router.pem", False),
        ("internal.pem", False),
        ("client.pem", False),
    ]
    assert [each["names"] for each in made[1:]] == [
        ["localhost", "127.0.0.1", "::1", "shoal-internal"],
        ["shoal-internal"],
        ["shoal-client"],
    ]
    assert [each["serial"] for each in made] == [f"{serials(folder)[Path(each['file']).stem]:x}" for each in made]
    one = shoal("cert", "show", folder / "internal.pem")
    assert one.out.splitlines()[0].split() == ["FILE", "NAMES", "SERIAL", "EXPIRES", "DAYS", "LEFT"]
    assert "shoal-internal" in one.out
    assert len(one.out.splitlines()) == 2


def test_a_certificate_that_has_expired_is_shown_as_such(shoal, tmp_path):
    file = tmp_path / "old.pem"
    file.write_bytes(new_leaf(Leaf.CLIENT, (), new_ca(NOW - timedelta(days=700)), NOW - timedelta(days=700), 30).certificate)
    assert shoal("cert", "show", file).out.splitlines()[1].endswith("expired")
    assert shoal("cert", "show", file, "--json").document["certificates"][0]["days_left"] <= 0


def test_nothing_is_overwritten(shoal, tmp_path):
    folder = tmp_path / "certs"
    shoal("cert", "init", folder)
    before = contents(folder)
    again = shoal("cert", "init", folder)
    assert (again.code, "is not empty, it has ca.key: `--renew` makes new certificates from its CA" in again.err) == (1, True)
    assert contents(folder) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert "it has notes.txt: nothing in it is overwritten" in shoal("cert", "init", other).err
    assert os.listdir(other) == ["notes.txt"]
    assert "exists and is no folder" in shoal("cert", "init", other / "notes.txt").err
    assert sorted(os.listdir(tmp_path)) == ["certs", "other"]


def test_an_empty_folder_and_a_link_to_one_are_filled(shoal, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    assert shoal("cert", "init", tmp_path / "link").code == 0
    assert (sorted(os.listdir(real)), stat.S_IMODE(real.stat().st_mode)) == (FILES, 0o700)


@pytest.mark.parametrize("at", range(8))
def test_a_full_disk_leaves_nothing_behind(shoal, tmp_path, monkeypatch, at):
    fail_at(monkeypatch, at)
    ended = shoal("cert", "init", tmp_path / "certs")
    assert (ended.code, "cannot be written: No space left on device" in ended.err) == (1, True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("at", range(6))
def test_a_full_disk_during_a_renewal_changes_nothing(shoal, tmp_path, monkeypatch, at):
    folder = tmp_path / "certs"
    shoal("cert", "init", folder)
    before = contents(folder)
    fail_at(monkeypatch, at)
    ended = shoal("cert", "init", folder, "--renew")
    assert (ended.code, "cannot be written: No space left on device" in ended.err) == (1, True)
    assert contents(folder) == before


def fail_at(monkeypatch, at: int) -> None:
    """Let the file that is written after `at` others meet a full disk."""
    flush, flushed = os.fsync, []

    def full(number: int) -> None:
        if len(flushed) == at:
            raise OSError(28, "No space left on device")
        flushed.append(number)
        flush(number)

    monkeypatch.setattr(certificate_folder.os, "fsync", full)


def test_renew_replaces_all_but_the_ca_and_keeps_the_names(shoal, tmp_path):
    folder = tmp_path / "certs"
    shoal("cert", "init", folder, "--host", "a.example.com")
    before, known = contents(folder), serials(folder)
    done = shoal("cert", "init", folder, "--renew", "--days", 10)
    after = contents(folder)
    assert (done.code, sorted(after)) == (0, FILES)
    assert {name for name in FILES if before[name] == after[name]} == {"ca.key", "ca.pem"}
    assert {name for name, serial in serials(folder).items() if serial == known[name]} == {"ca"}
    assert "a.example.com, localhost" in done.out
    assert stat.S_IMODE((folder / "router.key").stat().st_mode) == 0o600
    shoal("cert", "init", folder, "--renew", "--host", "b.example.com")
    shown = shoal("cert", "show", folder / "router.pem", "--json").document["certificates"][0]["names"]
    assert shown[:2] == ["b.example.com", "localhost"]


def test_a_renewal_that_cannot_sign_changes_nothing(shoal, tmp_path):
    folder, other = tmp_path / "certs", tmp_path / "other"
    shoal("cert", "init", folder)
    shoal("cert", "init", other)
    for spoilt, said in (
        (None, "ca.key is missing, and without the key of the CA nothing can be signed"),
        ((other / "ca.key").read_bytes(), "ca.key is not the key of ca.pem"),
        (b"no key", "the CA cannot be read"),
    ):
        (folder / "ca.key").unlink(missing_ok=True)
        if spoilt is not None:
            (folder / "ca.key").write_bytes(spoilt)
        before = contents(folder)
        ended = shoal("cert", "init", folder, "--renew")
        assert (ended.code, said in ended.err) == (1, True), ended.err
        assert contents(folder) == before
    assert "ca.pem does not exist" in shoal("cert", "init", tmp_path / "none", "--renew").err


def test_a_ca_that_has_expired_signs_nothing(tmp_path):
    folder = tmp_path / "certs"
    certificate_folder.make_folder(folder, (), NOW)
    before = contents(folder)
    with pytest.raises(PreconditionFailed, match=r"the CA expired on 2036-11-28, .* make a new one in another folder"):
        certificate_folder.renew_leaves(folder, (), NOW + timedelta(days=CA_DAYS))
    with pytest.raises(InvalidArgument, match="days is 365, and the CA itself expires in 99 days: give at most that") as refused:
        certificate_folder.renew_leaves(folder, (), NOW + timedelta(days=CA_DAYS - 100, seconds=1))
    assert refused.value.details.field == "days"
    assert contents(folder) == before


def test_names_are_asked_for_where_those_of_the_router_are_not_known(shoal, tmp_path):
    folder, other = tmp_path / "certs", tmp_path / "other"
    shoal("cert", "init", folder, "--host", "a.example.com")
    shoal("cert", "init", other, "--host", "b.example.com")
    (folder / "router.pem").write_bytes((other / "router.pem").read_bytes())
    assert "router.pem is of another CA, so its names are not taken: give each with --host" in shoal("cert", "init", folder, "--renew").err
    (folder / "router.pem").unlink()
    assert "router.pem is missing, so the names of routers are not known" in shoal("cert", "init", folder, "--renew").err
    assert shoal("cert", "init", folder, "--renew", "--host", "c.example.com").code == 0


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Search.Example.com", "search.example.com"),
        ("my_router", "my_router"),
        ("*.router.svc", "*.router.svc"),
        ("10.0.0.5", "10.0.0.5"),
        ("::0001", "::1"),
        ("[fd00::1]", "fd00::1"),
    ],
)
def test_names_and_addresses_are_taken(given, taken):
    assert checked_host(given) == taken


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a b",
        "host:7600",
        "https://host",
        "10.0.0",
        "1.2.3.256",
        "*",
        "*.com",
        "a.*.com",
        "-a",
        "a..b",
        "bücher.de",
        "x" * 64,
        "a." * 130,
    ],
)
def test_other_names_are_refused_and_named(shoal, tmp_path, given):
    with pytest.raises(InvalidArgument, match="it must be a DNS name") as refused:
        checked_host(given)
    assert refused.value.details.field == "host"
    assert given[:20] in refused.value.message
    ended = shoal("cert", "init", tmp_path / "certs", "--host", given)
    assert (ended.code, "it must be a DNS name" in ended.err, os.listdir(tmp_path)) == (1, True, [])


def test_the_name_of_the_roles_is_given_to_nothing_else():
    with pytest.raises(InvalidArgument, match="a name that only the roles of the cluster have"):
        checked_host("Shoal-Internal")


def test_a_file_without_certificates_is_named(shoal, tmp_path):
    shoal("cert", "init", tmp_path / "certs")
    key = tmp_path / "certs" / "ca.key"
    assert f"{key} holds no certificate in the form PEM" in shoal("cert", "show", key).err
    assert "nothing.pem does not exist" in shoal("cert", "show", tmp_path / "nothing.pem").err
    assert "has no files *.pem" in shoal("cert", "show", tmp_path).err


def test_without_the_package_the_way_to_install_it_is_said(shoal, tmp_path, monkeypatch):
    for module in ("shoal.cli.certificate_maker", "shoal.cli.certificate_folder"):
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(f"shoal.cli.{module.rpartition('.')[2]}", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    ended = shoal("cert", "init", tmp_path / "certs")
    assert (ended.code, "pip install 'shoal[certificates]'" in ended.err) == (1, True)


def test_what_each_certificate_may_do():
    ca = new_ca(NOW)
    authority = x509.load_pem_x509_certificate(ca.certificate)
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert authority.not_valid_after_utc == NOW + timedelta(days=CA_DAYS)
    for kind in Leaf:
        leaf = x509.load_pem_x509_certificate(new_leaf(kind, ("a.example.com",), ca, NOW).certificate)
        leaf.verify_directly_issued_by(authority)
        assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
        purposes = {each._name for each in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
        assert purposes == ({"clientAuth"} if kind is Leaf.CLIENT else {"serverAuth", "clientAuth"})
        assert leaf.not_valid_after_utc - NOW == timedelta(days=365)
        assert "shoal-client" not in certificate_maker.names_of(kind, ()) or kind is Leaf.CLIENT


def test_two_authorities_have_different_names():
    first, second = (x509.load_pem_x509_certificate(new_ca(NOW).certificate).subject for _ in range(2))
    assert first != second
    assert re.fullmatch(r"CN=shoal CA [0-9a-f]+", first.rfc4514_string())


@pytest.mark.parametrize(
    ("server", "name", "client", "works"),
    [
        ("router", "localhost", "client", True),
        ("router", "127.0.0.1", "client", True),
        ("router", "shoal-internal", "internal", True),
        ("internal", "shoal-internal", "router", True),
        ("internal", "localhost", "client", False),
        ("client", "shoal-client", "client", False),
    ],
)
def test_the_library_of_the_system_takes_them(shoal, tmp_path, server, name, client, works):
    """A handshake with both sides' certificates checked, as roles and clients do it."""
    folder = tmp_path / "certs"
    shoal("cert", "init", folder)
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(folder / "ca.pem"))
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_verify_locations(folder / "ca.pem")
    for context, which in ((serving, server), (asking, client)):
        context.load_cert_chain(folder / f"{which}.pem", folder / f"{which}.key")
    assert shaken(serving, asking, name) is works


def shaken(serving: ssl.SSLContext, asking: ssl.SSLContext, name: str) -> bool:
    """Return whether a handshake over a pair of sockets works, and the server has read a byte after it."""
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)
    read = []

    def serve() -> None:
        try:
            with serving.wrap_socket(left, server_side=True) as made:
                read.append(made.recv(1))
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(right, server_hostname=name) as made:
            made.sendall(b"x")
            thread.join()
    except OSError:
        right.close()
    thread.join()
    return read == [b"x"]
