from __future__ import annotations

from pathlib import Path

import pytest

from shoal.core.errors import InvalidArgument
from shoal.runtime.role_settings import RoleSettings
from shoal.store.etcd.settings import EtcdLogin, EtcdTls, etcd_settings


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
        ({"etcd_ca": "ca", "etcd_key": "k"}, "etcd_cert"),
        ({"etcd_cert": "c", "etcd_key": "k"}, "etcd_ca"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_setting(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument, match=field) as caught:
        RoleSettings(**values)  # type: ignore[arg-type]
    assert caught.value.details.field == field


def test_files_become_what_they_hold(tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\n"
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(pem + name)
    (tmp_path / "password").write_text("a word \n")
    settings = RoleSettings(
        etcd=("e:1",),
        etcd_ca=str(tmp_path / "ca"),
        etcd_cert=str(tmp_path / "cert"),
        etcd_key=str(tmp_path / "key"),
        etcd_user="ann",
        etcd_password_file=str(tmp_path / "password"),
    )
    made = etcd_settings(settings)
    assert made.tls == EtcdTls(ca=(pem + "ca").encode(), certificate=(pem + "cert").encode(), key=(pem + "key").encode())
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
        ({"etcd_ca": str(garbage)}, f"etcd_ca {garbage} is not a PEM file"),
        ({"etcd_user": "ann", "etcd_password_file": str(empty)}, f"{empty} is empty"),
        ({"etcd_user": "ann", "etcd_password_file": str(binary)}, f"{binary} is not UTF-8"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            etcd_settings(RoleSettings(**values))  # type: ignore[arg-type]
