import os
import stat

import pytest

from shoal.cli import key as commands
from shoal.core.api_keys import RevokeKey, id_of, key_text
from tests.twins.keys import NOW_MS

FIRST = key_text("000000000001", bytes([1]) * 32)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.delenv("SHOAL_API_KEY", raising=False)
    monkeypatch.setattr(commands.time, "time", lambda: NOW_MS / 1000 + 3 * 86_400)


def test_a_new_key_is_printed_alone_and_the_rest_is_for_people(shoal):
    words = ("--scope", "docs-*:read,write", "--scope", "logs:read", "--expires", "90d", "--rate", 5, "--concurrency", 2)
    ended = shoal("key", "create", "app", *words)
    assert (ended.code, ended.out) == (0, FIRST + "\n")
    assert "000000000001 (app)" in ended.err
    assert FIRST not in ended.err
    shoal("key", "create", "old", "--scope", "*:operate", "--expires", "1d")
    shoal("key", "create", "plain", "--scope", "*:manage")
    assert shoal("key", "list").out.splitlines() == [
        "          ID  NAME   SCOPES                       MADE     EXPIRES          LIMITS",
        "000000000001  app    docs-*:read,write logs:read  3 d ago  in 87 d          5/s, 2 at once",
        "000000000002  old    *:operate                    3 d ago  expired 2 d ago  -",
        "000000000003  plain  *:manage                     3 d ago  never            -",
    ]


def test_json_for_programs(shoal):
    made = shoal("key", "create", "app", "--scope", "*:read", "--json").document
    assert made.pop("text") == FIRST
    assert shoal("key", "list", "--json").document == [made]
    assert shoal("key", "revoke", "000000000001", "--json").document == made
    assert made["scopes"] == ["*:read"]


def test_a_key_is_revoked_by_its_id_and_an_unknown_one_is_told(shoal):
    shoal("key", "create", "app", "--scope", "*:read")
    assert shoal("key", "revoke", "000000000001").out == "revoked the key 000000000001 (app)\n"
    assert isinstance(shoal.cluster.keys.asked[-1], RevokeKey)
    assert "@" in shoal.cluster.keys.asked[-1].asked_by
    ended = shoal("key", "revoke", "000000000001")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert ended.err.endswith("`shoal key list` shows the keys\n")


@pytest.mark.parametrize("time", ["90", "d", "-1d", "1y", "", "1e3s"])
def test_another_time_is_refused(shoal, time):
    ended = shoal("key", "create", "app", "--scope", "*:read", "--expires", time)
    assert (ended.code, "as in 90d" in ended.err) == (1, True)
    assert shoal.cluster.keys.asked == []


def test_a_file_with_a_new_key_is_for_its_owner_and_is_not_written_over(shoal, tmp_path):
    file = tmp_path / "admin.key"
    ended = shoal("key", "new", file)
    text = file.read_text().strip()
    assert (ended.code, stat.S_IMODE(os.stat(file).st_mode)) == (0, 0o600)
    assert id_of(text) in ended.out
    assert text not in ended.out + ended.err
    assert shoal("key", "new", file).code == 1
    assert file.read_text().strip() == text


def test_a_key_comes_from_a_file_or_the_environment_and_the_file_wins(shoal, tmp_path):
    file = tmp_path / "key"
    shoal("key", "new", file)
    shoal("collection", "list")
    shoal("collection", "list", env={"SHOAL_API_KEY": "from-environment"})
    shoal("--api-key-file", file, "collection", "list", env={"SHOAL_API_KEY": "from-environment"})
    assert shoal.api_keys == [None, "from-environment", file.read_text().strip()]


def test_a_file_that_others_may_read_is_refused(shoal, tmp_path):
    file = tmp_path / "key"
    shoal("key", "new", file)
    file.chmod(0o644)
    ended = shoal("--api-key-file", file, "collection", "list")
    assert (ended.code, "chmod 600" in ended.err) == (1, True)
