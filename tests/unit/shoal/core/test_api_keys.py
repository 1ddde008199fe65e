from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import scope_from_text
from shoal.core.api_keys import ApiKey, CreateKey, check_id, digest_of, id_for, id_of, info_of, key_text, made_key, proves
from shoal.core.errors import InvalidArgument

SCOPES = (scope_from_text("docs-*:read"),)
SECRETS = st.binary(min_size=32, max_size=32)
IDS = st.text("0123456789abcdef", min_size=12, max_size=12)


def key(text: str, **others: Any) -> ApiKey:
    return made_key(CreateKey(name="app", scopes=SCOPES, **others), text=text, now_ms=1_000)


@given(IDS, SECRETS, SECRETS)
def test_a_text_proves_its_own_key_only(id: str, secret: bytes, other: bytes) -> None:
    text = key_text(id, secret)
    made = key(text)
    assert id_of(text) == made.id == id
    assert proves(text, made)
    assert proves(key_text(id, other), made) == (secret == other)


@given(st.text())
def test_no_other_text_is_a_key_and_the_error_does_not_repeat_it(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        id_of(text)
    assert len(text) < 8 or text not in refused.value.message


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "A", lambda text: text[:-1], lambda text: text + "\n", lambda text: " " + text]
)
def test_a_text_that_was_changed_is_no_key(change: Any) -> None:
    with pytest.raises(InvalidArgument):
        id_of(change(key_text("0a" * 6, bytes(32))))


def test_what_is_stored_and_shown_has_no_secret() -> None:
    text = key_text("0a" * 6, bytes(range(32)))
    made = key(text)
    for shown in (repr(made), repr(info_of(made)), str(made)):
        assert text not in shown
        assert made.digest not in shown
    assert text[20:] not in made.digest


def test_a_key_expires_at_its_time() -> None:
    made = key(key_text("0a" * 6, bytes(32)), lifetime_s=2.0)
    assert made.expires_ms == 3_000
    assert [made.expired(now_ms) for now_ms in (0, 2_999.9, 3_000, 9_000)] == [False, False, True, True]
    assert not key(key_text("0a" * 6, bytes(32))).expired(1e18)


@pytest.mark.parametrize(("rate", "burst", "expected"), [(0.0, 0, 0), (0.5, 0, 1), (10.2, 0, 11), (10.0, 3, 3), (1e9, 0, 1_000_000)])
def test_a_rate_without_a_burst_takes_that_of_a_second(rate: float, burst: int, expected: int) -> None:
    assert key(key_text("0a" * 6, bytes(32)), rate_per_s=rate, burst=burst).burst == expected


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a\nb"}),
        ("name", {"name": "x" * 65}),
        ("scopes", {"scopes": ()}),
        ("scopes", {"scopes": SCOPES * 65}),
        ("lifetime_s", {"lifetime_s": -1.0}),
        ("lifetime_s", {"lifetime_s": float("nan")}),
        ("lifetime_s", {"lifetime_s": float("inf")}),
        ("rate_per_s", {"rate_per_s": -0.1}),
        ("burst", {"burst": 3}),
        ("burst", {"burst": -1, "rate_per_s": 1.0}),
        ("concurrency", {"concurrency": 1_000_001}),
    ],
)
def test_unusable_keys_are_refused(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        CreateKey(**{"name": "app", "scopes": SCOPES, **values})
    assert refused.value.details.field == field


def test_the_id_of_a_key_follows_from_the_request() -> None:
    assert id_for("one") == id_for("one") != id_for("two")
    assert check_id(id_for("one")) == id_for("one")
    with pytest.raises(InvalidArgument):
        check_id("0A" * 6)


def test_digests_are_of_the_whole_text() -> None:
    assert digest_of(key_text("0a" * 6, bytes(32))) != digest_of(key_text("0b" * 6, bytes(32)))
