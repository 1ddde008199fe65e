from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import Verb, scope_of
from shoal.core.api_keys import ApiKey
from shoal.core.errors import DataLoss
from shoal.store.key_codecs import decode_key, encode_key

SCOPES = st.builds(scope_of, st.sampled_from(["*", "docs-*", "x"]), st.sets(st.sampled_from([Verb.READ, Verb.WRITE]), min_size=1))
API_KEYS = st.builds(
    ApiKey,
    id=st.text("0123456789abcdef", min_size=12, max_size=12),
    name=st.text(max_size=9),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    scopes=st.lists(SCOPES, max_size=3).map(tuple),
    created_ms=st.integers(0, 2**41),
    expires_ms=st.integers(0, 2**41),
    rate_per_s=st.floats(0, 1e9),
    burst=st.integers(0, 100),
    concurrency=st.integers(0, 100),
    request=st.text("0123456789abcdef", max_size=4),
    unknown=st.dictionaries(st.just("tenant"), st.integers()),
)
KEY = ApiKey(id="0a" * 6, name="app", digest="0b" * 32, scopes=(scope_of("*", ["read"]),), created_ms=1)


@given(API_KEYS)
def test_a_key_comes_back_with_what_a_newer_version_wrote(key: ApiKey) -> None:
    assert decode_key("k", encode_key(key)) == key


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"digest": ""},
        {"digest": "0B" * 32},
        {"digest": None},
        {"scopes": None},
        {"scopes": [{"collections": "*", "verbs": ["own"]}]},
        {"scopes": [{"collections": "a*", "verbs": ["operate"]}]},
        {"expires_ms": "soon"},
    ],
)
def test_a_key_that_is_not_understood_is_data_loss(change: dict[str, object]) -> None:
    value = json.dumps({**json.loads(encode_key(KEY)), **change}).encode()
    with pytest.raises(DataLoss, match="key auth/x"):
        decode_key("auth/x", value)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_key_is_data_loss(text: bytes) -> None:
    with pytest.raises(DataLoss):
        decode_key("auth/x", text)
