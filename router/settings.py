"""Settings of a router process."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shoal.core.addresses import is_loopback
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.shown import shown
from shoal.runtime.role_settings import RoleSettings, check_client_required, check_http_port
from shoal.runtime.settings import setting
from shoal.wire.filters import DEEPEST_FILTER

_CHECKED = frozenset(each.name for each in fields(RoleSettings)) | {"http_port", "keys", "tls_client_required"}


def check_admission(*, keys: bool, admin_key_file: str, reflection: bool, tls_client_required: bool, host: str, insecure: bool) -> None:
    """Raise InvalidArgument for settings of keys that do not fit the others, and for a router beyond loopback that asks
    its callers for nothing.
    """
    if admin_key_file and not keys:
        raise InvalidArgument(f"admin_key_file is {admin_key_file!r}, it needs keys = true", ErrorDetails(field="admin_key_file"))
    if keys and reflection:
        raise InvalidArgument(
            "reflection is true, it must be false with keys = true: it would answer without a key", ErrorDetails(field="reflection")
        )
    if not (keys or tls_client_required or insecure or is_loopback(host)):
        raise InvalidArgument(
            f"host is {host!r}, which is beyond loopback, and the router asks for no credential: set keys = true and give keys with "
            "'shoal key create', or set tls_client_required = true; or set insecure = true instead of tls_cert",
            ErrorDetails(field="keys"),
        )


@dataclass(frozen=True, kw_only=True)
class RouterSettings(RoleSettings):
    """A router: takes calls of clients on its public port and asks the workers."""

    port: int = setting(7600, "public port; 0 for any free one")
    http_port: int = setting(0, "port for the same calls by HTTP/1.1; 0 is none, -1 any free one, which the log names")
    keys: bool = setting(False, "ask for an API key with every call; see the guide, Keys")
    admin_key_file: str = setting("", "file, mode 0600, that holds a key with every right, for the first keys")
    default_timeout_s: float = setting(10.0, "for calls that come without a deadline")
    optimize_timeout_s: float = setting(3_600.0, "for calls of Collections.Optimize that come without a deadline")
    read_patience_s: float = setting(2.0, "how long a read tries again when a shard cannot answer")
    status_timeout_s: float = setting(1.0, "how long a worker may take to answer when the cluster is described")
    tls_client_required: bool = setting(False, "ask clients for a certificate that the authority in tls_ca signed, on both ports")
    max_dim: int = setting(DEFAULT_LIMITS.dim, "largest dimension of a collection")
    max_shards: int = setting(DEFAULT_LIMITS.shards, "most shards of a collection")
    max_k: int = setting(DEFAULT_LIMITS.k, "largest k of a search")
    max_batch_queries: int = setting(DEFAULT_LIMITS.batch_queries, "most queries of a search")
    max_batch_hits: int = setting(DEFAULT_LIMITS.batch_hits, "most hits a search may ask for: queries x k")
    max_upsert_points: int = setting(DEFAULT_LIMITS.upsert_points, "most points of an upsert, and most ids of a get, delete or update")
    max_id_bytes: int = setting(DEFAULT_LIMITS.id_bytes, "longest id")
    max_payload_bytes: int = setting(DEFAULT_LIMITS.payload_bytes, "largest payload of a point")
    max_scroll_points: int = setting(DEFAULT_LIMITS.scroll_points, "most points of a page")
    max_breadth: int = setting(DEFAULT_LIMITS.breadth, "largest ef or nprobe of a search")
    max_filter_depth: int = setting(DEFAULT_LIMITS.filter_depth, f"most levels of a filter, at most {DEEPEST_FILTER}")
    max_filter_conditions: int = setting(DEFAULT_LIMITS.filter_conditions, "most conditions of a filter")
    max_filter_values: int = setting(DEFAULT_LIMITS.filter_values, "most values and ids that a filter lists")
    max_filter_text_bytes: int = setting(DEFAULT_LIMITS.filter_text_bytes, "longest text and key in a filter")

    def __post_init__(self) -> None:
        """Raise InvalidArgument for an unusable value."""
        super().__post_init__()
        check_http_port(self.http_port, self.port)
        check_client_required(self.tls_client_required, self.tls_files)
        check_admission(
            keys=self.keys,
            admin_key_file=self.admin_key_file,
            reflection=self.reflection,
            tls_client_required=self.tls_client_required,
            host=self.host,
            insecure=self.insecure,
        )
        for name, value in vars(self).items():
            if name not in _CHECKED and isinstance(value, (int, float)) and not value > 0:
                raise InvalidArgument(f"{name} is {shown(value)}, it must be above 0", ErrorDetails(field=name))
        if self.max_filter_depth > DEEPEST_FILTER:
            raise InvalidArgument(
                f"max_filter_depth is {self.max_filter_depth}, at most {DEEPEST_FILTER} is allowed", ErrorDetails(field="max_filter_depth")
            )

    @property
    def limits(self) -> Limits:
        """Bounds on requests."""
        return Limits(
            dim=self.max_dim,
            k=self.max_k,
            batch_queries=self.max_batch_queries,
            batch_hits=self.max_batch_hits,
            message_bytes=self.message_bytes,
            upsert_points=self.max_upsert_points,
            id_bytes=self.max_id_bytes,
            payload_bytes=self.max_payload_bytes,
            shards=self.max_shards,
            scroll_points=self.max_scroll_points,
            breadth=self.max_breadth,
            filter_depth=self.max_filter_depth,
            filter_conditions=self.max_filter_conditions,
            filter_values=self.max_filter_values,
            filter_text_bytes=self.max_filter_text_bytes,
        )
