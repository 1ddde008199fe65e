from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.addresses import is_ipv6, is_loopback, joined, plain_host
from shoal.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("given_host", "plain"),
    [
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::", "::"),
        ("[::]", "::"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("localhost", "localhost"),
        ("node_1.rack-2.example.", "node_1.rack-2.example."),
    ],
)
def test_a_host_stands_alone_without_brackets(given_host: str, plain: str) -> None:
    assert plain_host(given_host) == plain


@pytest.mark.parametrize(
    "text",
    ["", " ", "[]", "[::1", "::1]", "[localhost]", "[127.0.0.1]", "127.0.0.1:7600", "[::1]:7600", "tcp://10.0.0.1", "a b", "-a", "é"],
)
def test_what_is_no_host_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plain_host(text)
    assert repr(text) in caught.value.message
    assert caught.value.details.field == "host"


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address), st.integers(0, 65_535))
def test_an_ipv6_address_and_its_port_can_be_told_apart(address: ipaddress.IPv6Address, port: int) -> None:
    text = joined(str(address), port)
    host, _, end = text.rpartition(":")
    assert (plain_host(host), int(end)) == (str(address), port)
    assert is_ipv6(str(address))


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 65_535))
def test_others_get_no_brackets(address: ipaddress.IPv4Address, port: int) -> None:
    assert joined(str(address), port) == f"{address}:{port}"
    assert not is_ipv6(str(address))


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.200.3.4", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
        ("localhost.example", False),
        ("node", False),
        ("127.1", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here
