from __future__ import annotations

from pathlib import Path

import pytest

from shoal.core.errors import InvalidArgument
from shoal.runtime.role_settings import RoleSettings
from shoal.store.etcd.settings import EtcdLogin, etcd_settings
from tests.support.network.certificates import Authority


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"port": -1}, "port"),
        ({"metrics_port": -2}, "metrics_port"),
        ({"metrics_port": 65_536}, "metrics_port"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"message_bytes": 0}, "message_bytes"),
        ({"cluster_name": "a/b"}, "cluster_name"),
        ({"cluster_name": ""}, "cluster_name"),
        ({"etcd_user": "ann"}, "etcd_password_file"),
        ({"etcd_password_file": "p"}, "etcd_user"),
        ({"etcd_ca": "ca", "etcd_cert": "c"}, "etcd_key"),
        ({"tls_cert": "c", "tls_key": "k"}, "tls_ca"),
        ({"tls_ca": "ca", "tls_cert": "c"}, "tls_key"),
        ({"tls_ca": "ca", "tls_key": "k"}, "tls_cert"),
        ({"tls_ca": "ca"}, "tls_cert"),
        ({"tls_ca": "ca", "tls_cert": "c", "tls_key": "k", "insecure": True}, "insecure"),
        ({"etcd_ca": "ca", "etcd_key": "k"}, "etcd_cert"),
        ({"etcd_cert": "c", "etcd_key": "k"}, "etcd_ca"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_setting(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument, match=field) as caught:
        RoleSettings(**values)  # type: ignore[arg-type]
    assert caught.value.details.field == field


WITH_TLS = {"tls_ca": "ca", "tls_cert": "c", "tls_key": "k"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.7", "fd00::7", "node-3.example", "localhost.example", "127.1"])
def test_beyond_loopback_a_role_needs_tls_or_the_word_that_it_is_insecure(host: str) -> None:
    with pytest.raises(InvalidArgument, match=r"beyond loopback.*shoal cert init.*insecure = true") as caught:
        RoleSettings(host=host)
    assert caught.value.details.field == "tls_cert"
    assert caught.value.message.startswith(f"host is {host.strip('[]')!r}")
    assert not RoleSettings(host=host, insecure=True).tls_files.given
    assert RoleSettings(host=host, **WITH_TLS).tls_files.given  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_loopback_needs_nothing(host: str) -> None:
    assert not RoleSettings(host=host).tls_files.given


def test_files_become_what_they_hold(tmp_path: Path) -> None:
    files = Authority(tmp_path, "ours").client()
    (tmp_path / "password").write_text("a word \n")
    settings = RoleSettings(
        etcd=("e:1",),
        etcd_ca=files.ca,
        etcd_cert=files.cert,
        etcd_key=files.key,
        etcd_user="ann",
        etcd_password_file=str(tmp_path / "password"),
    )
    made = etcd_settings(settings)
    assert made.tls is not None
    held = made.tls.current()
    assert (held.ca, held.cert, held.key) == tuple(Path(path).read_bytes() for path in (files.ca, files.cert, files.key))
    assert made.login == EtcdLogin(user="ann", password="a word ")
    assert made.endpoints == ("e:1",)
    assert etcd_settings(RoleSettings(), ("f:2",)).endpoints == ("f:2",)
    assert etcd_settings(RoleSettings()).tls is None


def test_files_that_are_no_use_are_named(tmp_path: Path) -> None:
    empty, garbage, binary = tmp_path / "empty", tmp_path / "garbage", tmp_path / "binary"
    empty.write_text("\n")
    garbage.write_text("no certificate")
    binary.write_bytes(b"\xff\xfe")
    for values, said in (
        ({"etcd_ca": "/nowhere/ca"}, "etcd_ca /nowhere/ca cannot be read: No such file"),
        ({"etcd_ca": str(garbage)}, f"etcd_ca {garbage} holds no certificate in PEM"),
        ({"etcd_user": "ann", "etcd_password_file": str(empty)}, f"{empty} is empty"),
        ({"etcd_user": "ann", "etcd_password_file": str(binary)}, f"{binary} is not UTF-8"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            etcd_settings(RoleSettings(**values))  # type: ignore[arg-type]
