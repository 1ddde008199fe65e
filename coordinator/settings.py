"""Settings of a coordinator."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.role_settings import RoleSettings
from shoal.runtime.settings import setting


@dataclass(frozen=True, kw_only=True)
class CoordinatorSettings(RoleSettings):
    """The coordinator: places shards, elects primaries, creates and drops collections.

    Raises InvalidArgument for an unusable value.
    """

    lease_ttl_s: int = setting(5, "seconds after which a leader that vanished is replaced")
    reconcile_every_s: float = setting(2.0, "longest pause between two rounds, in seconds")
    store_timeout_s: float = setting(2.0, "deadline of one call of etcd, in seconds")
    replace_after_s: float = setting(600.0, "seconds that a worker may be gone before its replicas are replaced on others")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lease_ttl_s", "reconcile_every_s", "store_timeout_s", "replace_after_s"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)}, it must be above 0", ErrorDetails(field=name))
