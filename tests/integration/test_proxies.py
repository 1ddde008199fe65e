"""Test that our channels ignore the variables that name a proxy: plain or encrypted, blocking or not. gRPC is real, and
the proxy counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from shoal.wire.channels import client_options, open_aio_channel, open_channel
from tests.support.network.certificates import Authority
from tests.support.network.proxy import VARIABLES, proxy_named_by

TIMEOUT_S = 10.0
QUESTION = health_pb2.HealthCheckRequest()
OPTIONS = client_options(1024)

Server = tuple[str, grpc.ChannelCredentials | None]


@pytest.fixture(scope="module", params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that answers health checks. Yield its address, and the credentials for a channel to it."""
    serving = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), serving)
    if request.param == "plain":
        port, credentials = serving.add_insecure_port("127.0.0.1:0"), None
    else:
        port, credentials = _secure(serving, tmp_path_factory.mktemp("certificates"))
    serving.start()
    yield f"127.0.0.1:{port}", credentials
    serving.stop(None).wait()


def _secure(serving: grpc.Server, folder: Path) -> tuple[int, grpc.ChannelCredentials]:
    authority = Authority(folder, "ours")
    signed = authority.sign("server")
    own = grpc.ssl_server_credentials([(signed.key.read_bytes(), signed.certificate.read_bytes())])
    return serving.add_secure_port("127.0.0.1:0", own), grpc.ssl_channel_credentials(authority.ca.read_bytes())


async def ask_both_ways(server: Server) -> None:
    address, credentials = server
    with open_channel(address, OPTIONS, credentials) as channel:
        health_pb2_grpc.HealthStub(channel).Check(QUESTION, timeout=TIMEOUT_S)
    async with open_aio_channel(address, OPTIONS, credentials) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(QUESTION, timeout=TIMEOUT_S)


@pytest.mark.parametrize("variables", [*((name,) for name in VARIABLES), VARIABLES])
def test_a_call_reaches_its_server_without_the_proxy(server: Server, variables: tuple[str, ...]) -> None:
    with proxy_named_by(variables) as proxy:
        asyncio.run(ask_both_ways(server))
    assert proxy.asked == []


def test_that_proxy_counts_the_channels_of_others(server: Server) -> None:
    """The twin: a channel that was not made by our code uses the proxy. So the test above can fail."""
    with proxy_named_by(("http_proxy",)) as proxy, grpc.insecure_channel(server[0]) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(QUESTION, timeout=TIMEOUT_S)
    assert proxy.asked != []
