"""Channels, made in one place, and their options: message sizes, keepalive, reconnect backoff, no proxy."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

ChannelOptions = Sequence[tuple[str, int | str]]

_OVERHEAD_BYTES = 64 * 1024
"""Room for what surrounds the columns in a message of the largest allowed size."""


_NO_PROXY = (("grpc.enable_http_proxy", 0),)
"""gRPC would send a call to loopback through the proxy of `http_proxy`, and one to a server of the cluster's own
network too.
"""


def open_channel(address: str, options: ChannelOptions, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """A blocking channel, encrypted when there are credentials. Variables that name a proxy are no matter for it."""
    given = [*options, *_NO_PROXY]
    return grpc.secure_channel(address, credentials, given) if credentials else grpc.insecure_channel(address, given)


def open_aio_channel(address: str, options: ChannelOptions, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """As `open_channel`, for the event loop that runs."""
    given = [*options, *_NO_PROXY]
    return grpc.aio.secure_channel(address, credentials, given) if credentials else grpc.aio.insecure_channel(address, given)


def client_options(message_bytes: int) -> ChannelOptions:
    """Options of a client channel. message_bytes: largest message either way.

    Backoff between connects is at most 2 s.
    """
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
