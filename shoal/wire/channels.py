"""Channel options, in one place: message sizes, keepalive, reconnect backoff."""

from __future__ import annotations

from collections.abc import Sequence

ChannelOptions = Sequence[tuple[str, int | str]]

_OVERHEAD_BYTES = 64 * 1024
"""Room for what surrounds the columns in a message of the largest allowed size."""


def client_options(message_bytes: int) -> ChannelOptions:
    """Options of a client channel. message_bytes: largest message either way. Backoff between connects is at most 2 s."""
    return (
        ("grpc.max_receive_message_length", message_bytes + _OVERHEAD_BYTES),
        ("grpc.max_send_message_length", message_bytes + _OVERHEAD_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )


def server_options(message_bytes: int) -> ChannelOptions:
    """Options of a server. No port is shared: two servers on one port would split its calls."""
    return (
        ("grpc.max_receive_message_length", message_bytes + _OVERHEAD_BYTES),
        ("grpc.max_send_message_length", message_bytes + _OVERHEAD_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    )
