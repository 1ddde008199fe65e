from __future__ import annotations

import pytest

from shoal.coordinator.settings import CoordinatorSettings
from shoal.core.errors import InvalidArgument
from shoal.runtime.settings import load_settings


def load(*arguments: str) -> CoordinatorSettings:
    return load_settings(CoordinatorSettings, program="coordinator", arguments=arguments, environment={})


def test_defaults_and_flags() -> None:
    assert load() == CoordinatorSettings()
    settings = load("--etcd=a:1,b:2", "--lease-ttl-s=3", "--cluster-name=x")
    assert (settings.etcd, settings.lease_ttl_s, settings.cluster_name) == (("a:1", "b:2"), 3, "x")


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("--cluster-name=a/b", "cluster_name"),
        ("--port=65536", "port"),
        ("--port=-1", "port"),
        ("--lease-ttl-s=0", "lease_ttl_s"),
        ("--reconcile-every-s=nan", "reconcile_every_s"),
        ("--store-timeout-s=-1", "store_timeout_s"),
        ("--replace-after-s=0", "replace_after_s"),
        ("--message-bytes=0", "message_bytes"),
    ],
)
def test_impossible_values_are_refused_naming_them(flag: str, field: str) -> None:
    with pytest.raises(InvalidArgument, match=field) as caught:
        load(flag)
    assert caught.value.details.field == field
