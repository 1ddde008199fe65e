from __future__ import annotations

from typing import Any

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.router.settings import RouterSettings
from shoal.runtime.role_settings import ANY_PORT
from shoal.runtime.settings import load_settings


def test_defaults_are_the_documented_limits_and_the_fixed_port() -> None:
    assert RouterSettings().limits == DEFAULT_LIMITS
    assert RouterSettings().port == 7600


def test_a_router_by_itself_has_no_http_port_unless_it_is_set() -> None:
    assert RouterSettings().http_port == 0
    assert RouterSettings(http_port=ANY_PORT, port=0).http_port == ANY_PORT
    assert RouterSettings(http_port=7680).http_port == 7680


def test_every_limit_can_be_set() -> None:
    settings = load_settings(
        RouterSettings,
        program="router",
        arguments=["--max-k=5", "--message-bytes", "1000", "--etcd=a:1,b:2", "--max-filter-depth=3", "--max-breadth=7"],
        environment={"SHOAL_MAX_ID_BYTES": "9", "SHOAL_READ_PATIENCE_S": "0.5"},
    )
    assert (settings.limits.k, settings.limits.message_bytes, settings.limits.id_bytes) == (5, 1000, 9)
    assert (settings.limits.filter_depth, settings.limits.breadth) == (3, 7)
    assert (settings.etcd, settings.read_patience_s) == (("a:1", "b:2"), 0.5)


@pytest.mark.parametrize(
    "values",
    [
        {"port": 65_536},
        {"port": -1},
        {"http_port": -2},
        {"http_port": 65_536},
        {"http_port": 7600, "port": 7600},
        {"max_k": 0},
        {"max_filter_depth": 65},
        {"max_filter_values": 0},
        {"default_timeout_s": -1.0},
        {"read_patience_s": float("nan")},
        {"admin_key_file": "key"},
        {"reflection": True, "keys": True},
    ],
)
def test_impossible_values_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(values))):
        RouterSettings(**values)


TLS = {"tls_ca": "ca", "tls_cert": "cert", "tls_key": "key"}


@pytest.mark.parametrize(
    "credential", [{"keys": True, **TLS}, {"tls_client_required": True, **TLS}, {"insecure": True}, {"keys": True, "insecure": True}]
)
def test_a_router_beyond_loopback_asks_for_a_credential_or_says_that_it_does_not(credential: dict[str, Any]) -> None:
    assert RouterSettings(host="0.0.0.0", **credential).host == "0.0.0.0"


def test_a_router_beyond_loopback_that_asks_for_nothing_is_refused_with_the_ways_out() -> None:
    with pytest.raises(InvalidArgument, match=r"keys = true.*tls_client_required = true.*insecure = true") as refused:
        RouterSettings(host="0.0.0.0", **TLS)  # type: ignore[arg-type]
    assert refused.value.details.field == "keys"
    assert RouterSettings(**TLS).keys is False  # type: ignore[arg-type]
