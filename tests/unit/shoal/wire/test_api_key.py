from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument
from shoal.wire.api_key import bearer_metadata, check_api_key
from shoal.wire.http.request import RequestHeads


def test_the_header_is_the_same_over_every_wire() -> None:
    assert bearer_metadata("shoal_k") == (("authorization", "Bearer shoal_k"),)
    assert b"\r\nauthorization: Bearer shoal_k\r\n" in RequestHeads("a:1", "me", api_key="shoal_k").head("/s/m", 1.0, 0)
    assert b"authorization" not in RequestHeads("a:1", "me").head("/s/m", 1.0, 0)


@pytest.mark.parametrize("given", ["", "a b", "secret\r\nx: y", "secret\n", "sécret", "secret\x00", "secret" * 1_000, b"secret", 7, None])
def test_what_no_header_holds_is_refused_and_not_shown(given: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_api_key(given)
    assert refused.value.details.field == "api_key"
    assert "cret" not in refused.value.message
