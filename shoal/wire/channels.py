"""Makes all gRPC channels and their options: message sizes, keepalive, reconnect backoff, no proxy."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

ChannelOptions = Sequence[tuple[str, int | str]]

OVERHEAD_BYTES = 64 * 1024
"""Bytes for the other fields of a message whose columns have the largest allowed size."""


_NO_PROXY = (("grpc.enable_http_proxy", 0),)
"""Else gRPC would send calls through the proxy of `http_proxy`, also calls to loopback and inside the cluster."""


def open_channel(address: str, options: ChannelOptions, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """Return a blocking channel, encrypted if credentials are given. It ignores proxy variables."""
    given = [*options, *_NO_PROXY]
    return grpc.secure_channel(address, credentials, given) if credentials else grpc.insecure_channel(address, given)


def open_aio_channel(address: str, options: ChannelOptions, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """Return a channel for the running event loop; else as `open_channel`."""
    given = [*options, *_NO_PROXY]
    return grpc.aio.secure_channel(address, credentials, given) if credentials else grpc.aio.insecure_channel(address, given)


def client_options(message_bytes: int) -> ChannelOptions:
    """Return the options of a client channel. message_bytes: largest message in either direction.

    The pause between two attempts to connect is at most 2 s.
    """
    return (
        ("grpc.max_receive_message_length", message_bytes + OVERHEAD_BYTES),
        ("grpc.max_send_message_length", message_bytes + OVERHEAD_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )


def options_of_one_call(message_bytes: int) -> ChannelOptions:
    """Return the options of a channel that makes one call and does not repeat it. message_bytes: as in client_options.

    The connection may take the whole timeout of the call. With the options of client_options the first attempt to
    connect has 100 ms, which a busy machine may need.
    """
    return (*client_options(message_bytes)[:2], ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))


def server_options(message_bytes: int) -> ChannelOptions:
    """Return the options of a server. Ports are not shared: two servers on one port would split its calls."""
    return (
        ("grpc.max_receive_message_length", message_bytes + OVERHEAD_BYTES),
        ("grpc.max_send_message_length", message_bytes + OVERHEAD_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    )
