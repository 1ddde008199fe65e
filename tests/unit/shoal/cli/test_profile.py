"""Test profiles: where their values come from, the file, and what is refused."""

import os
import stat

import pytest

from shoal.cli import profile_file
from shoal.cli.profile_file import path_of_profiles
from shoal.core.errors import InvalidArgument


@pytest.fixture
def file():
    """Return the path of the file of this test."""
    return path_of_profiles()


def test_profiles_are_set_shown_listed_and_removed(shoal, file):
    assert "no profiles in" in shoal("profile", "list").out
    assert shoal("profile", "set", "prod", "--address", "a:1,b:2", "--timeout", 3).out == f"profile prod is in {file}\n"
    assert shoal("profile", "set", "home", "--transport", "grpc").code == 0
    assert shoal("profile", "set", "prod", "--transport", "http").code == 0
    both = {"prod": {"address": "a:1,b:2", "timeout": 3.0, "transport": "http"}, "home": {"transport": "grpc"}}
    assert shoal("profile", "list", "--json").document == both
    assert shoal("profile", "show", "prod", "--json").document == both["prod"]
    assert [line.split() for line in shoal("profile", "list").out.splitlines()[1:]] == [
        ["prod", "a:1,b:2", "3.0", "http"],
        ["home", "grpc"],
    ]
    assert "a:1,b:2" in shoal("profile", "show", "prod").out
    assert shoal("profile", "remove", "home").code == 0
    assert list(shoal("profile", "list", "--json").document) == ["prod"]


def test_the_file_belongs_to_its_user_alone_and_is_replaced_whole(shoal, file, monkeypatch):
    shoal("profile", "set", "one", "--address", "a:1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()

    def refused(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(file), "replace", refused)
    ended = shoal("profile", "set", "two", "--address", "b:1")
    assert (ended.code, "cannot be written: No space left on device" in ended.err) == (1, True)
    assert (file.read_bytes(), os.listdir(file.parent)) == (before, [file.name])


def test_a_link_to_the_file_stays_one(shoal, file):
    real = file.parent / "real.toml"
    real.write_text("")
    file.symlink_to(real)
    assert shoal("profile", "set", "one", "--address", "a:1").code == 0
    assert file.is_symlink()
    assert "a:1" in real.read_text()


def test_options_come_from_the_line_then_its_profile_then_the_environment_then_that_profile(shoal):
    shoal("profile", "set", "one", "--address", "one:1", "--timeout", 7, "--transport", "http")
    shoal("profile", "set", "two", "--timeout", 8)
    shoal("--profile", "one", "status")
    shoal("--profile", "one", "collection", "list", env={"SHOAL_ADDRESS": "env:1", "SHOAL_TRANSPORT": "grpc"})
    shoal("collection", "list", env={"SHOAL_PROFILE": "one", "SHOAL_ADDRESS": "env:1"})
    shoal("--address", "root:1", "--timeout", 2, "collection", "list", env={"SHOAL_PROFILE": "one"})
    shoal("--profile", "two", "collection", "list", env={"SHOAL_PROFILE": "one"})
    shoal("--profile", "one", "collection", "list", "--address", "own:1")
    shoal("collection", "list", env={"SHOAL_PROFILE": ""})
    assert list(zip(shoal.connects, shoal.transports, strict=True)) == [
        (("one:1", 7.0), "http"),
        (("one:1", 7.0), "http"),
        (("env:1", 7.0), "http"),
        (("root:1", 2.0), "http"),
        (("localhost:7600", 8.0), "auto"),
        (("own:1", 7.0), "http"),
        (("localhost:7600", None), "auto"),
    ]


def test_a_missing_profile_is_named_and_can_be_made(shoal, file):
    shoal("profile", "set", "one", "--address", "one:1")
    ended = shoal("--profile", "other", "status")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert f"{file} has no profile 'other', it has: one" in ended.err
    assert shoal("profile", "set", "other", "--address", "b:1", env={"SHOAL_PROFILE": "other"}).code == 0
    assert shoal("profile", "remove", "none").code == 1
    assert shoal("profile", "show", "none").code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["p"], "there is nothing to set"),
        (["p", "--timeout", "0"], "timeout is 0.0, it must be a positive number of seconds"),
        (["p", "--transport", "tcp"], "transport is 'tcp', it must be auto, http or grpc"),
        (["p", "--address", "a:1,,b:none"], "profile p: "),
        (["a b", "--address", "a:1"], "'a b' is no name of a profile"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(shoal, file, words, said):
    ended = shoal("profile", "set", *words)
    assert ended.code in (1, 2)
    assert said in ended.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profile.a]\nadress = 'a:1'", "profile a: unknown key 'adress', known are address, timeout, transport"),
        ("[profile.a]\ntimeout = true", "timeout is True"),
        ("[profile.a]\naddress = 7", "address is 7"),
        ("[profile]\na = 1", "profile a: it must be a table"),
        ("[profiles.a]", "'profiles' is no table of profiles"),
        ("profile = 1", "'profile' is no table of profiles"),
        ("[profile.a", "is not TOML"),
        ("[profile.'a b']\n", "'a b' is no name of a profile"),
    ],
)
def test_a_file_with_faults_is_refused(shoal, file, text, said):
    file.write_text(text)
    ended = shoal("profile", "list")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert said in ended.err
    assert (shoal("profile", "set", "b", "--address", "a:1").code, file.read_text()) == (1, text)


def test_a_file_with_secrets_that_others_may_read_is_refused(shoal, file, monkeypatch):
    file.write_text("[profile.a]\naddress = 'a:1'\n")
    file.chmod(0o644)
    assert shoal("profile", "list").code == 0
    monkeypatch.setattr(profile_file, "SECRETS", frozenset({"address"}))
    assert f"holds secrets, and others may read it: chmod 600 {file}" in shoal("profile", "list").err
    file.chmod(0o600)
    assert shoal("profile", "list").code == 0


def test_texts_come_back_as_they_were(tmp_path):
    path = tmp_path / "inner" / "config.toml"
    kept = {"a": profile_file.Profile(address="[::1]:7600", timeout=0.5)}
    profile_file.write_profiles(path, kept)
    assert profile_file.read_profiles(path) == kept
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_the_file_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of_profiles({}) == tmp_path / ".config/shoal/config.toml"
    assert path_of_profiles({"XDG_CONFIG_HOME": "/x"}) == path_of_profiles({"SHOAL_CONFIG": "/x/shoal/config.toml"})
    assert path_of_profiles({"XDG_CONFIG_HOME": "relative"}) == tmp_path / ".config/shoal/config.toml"
    with pytest.raises(InvalidArgument, match="Is a directory"):
        profile_file.read_profiles(tmp_path)


def test_files_of_tls_come_from_the_line_the_environment_and_profiles_and_are_not_given_without_them(shoal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shoal("profile", "set", "one", "--tls-ca", "ca.pem", "--tls-cert", "/c.pem", "--tls-key", "/c.key")
    shoal("collection", "list")
    shoal("--tls-ca", "a", "collection", "list")
    shoal("--tls-ca", "a", "collection", "list", env={"SHOAL_TLS_CA": "b", "SHOAL_TLS_CERT": "c", "SHOAL_TLS_KEY": "d"})
    shoal("--profile", "one", "status")
    assert shoal.files == [
        {},
        {"tls_ca": "a"},
        {"tls_ca": "a", "tls_cert": "c", "tls_key": "d"},
        {"tls_ca": str(tmp_path / "ca.pem"), "tls_cert": "/c.pem", "tls_key": "/c.key"},
    ]
