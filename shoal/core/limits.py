"""All bounds on requests. The values are defaults; a server may be configured with others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on requests. Sizes are in bytes unless the name says otherwise."""

    dim: int = 65_536
    k: int = 16_384
    batch_queries: int = 4_096
    batch_hits: int = 1_000_000
    message_bytes: int = 32 * 1024 * 1024
    upsert_points: int = 16_384
    id_bytes: int = 512
    payload_bytes: int = 1024 * 1024
    payload_depth: int = 100
    payload_integer_bits: int = 8_192
    shards: int = 1_024
    replicas: int = 7
    scroll_points: int = 10_000
    name_length: int = 128
    filter_depth: int = 16
    filter_conditions: int = 1_024
    filter_values: int = 65_536
    filter_text_bytes: int = 65_536
    filter_path_keys: int = 128
    filter_integer_bits: int = 8_192
    breadth: int = 65_536
    text_bytes: int = 32_768
    text_clauses: int = 256


DEFAULT_LIMITS = Limits()
