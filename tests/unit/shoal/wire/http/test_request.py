from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.wire.http.request import RequestHeads

PATH = "/shoal.v1.Search/Search"


class Seen:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.url, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        assert name.decode() not in self.headers
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body


def parsed(data: bytes) -> Seen:
    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(data)
    assert (parser.get_method(), parser.get_http_version(), parser.should_keep_alive()) == (b"POST", "1.1", True)
    return seen


@given(st.binary(max_size=50), st.sampled_from(["", "id-1"]), st.floats(0.0, 1e12))
def test_a_head_says_all_of_a_call(body: bytes, server: str, timeout_s: float) -> None:
    heads = RequestHeads("[::1]:80", "me", server)
    for _ in range(2):
        seen = parsed(heads.head(PATH, timeout_s, len(body)) + body)
        milliseconds = int(seen.headers.pop("connect-timeout-ms"))
        assert (seen.url, seen.body) == (PATH.encode(), body)
        assert seen.headers.pop("shoal-server", "") == server
        assert seen.headers == {
            "host": "[::1]:80",
            "content-type": "application/proto",
            "connect-protocol-version": "1",
            "shoal-client": "me",
            "content-length": str(len(body)),
        }
        assert milliseconds == max(1, min(int(1000 * timeout_s), 10**10 - 1))


@pytest.mark.parametrize(("timeout_s", "shown"), [(0.0, b"1"), (0.0004, b"1"), (0.5, b"500"), (60, b"60000"), (1e300, b"9999999999")])
def test_a_timeout_is_told_in_milliseconds(timeout_s: float, shown: bytes) -> None:
    assert b"connect-timeout-ms: " + shown + b"\r\n" in RequestHeads("a:1", "me").head(PATH, timeout_s, 0)
