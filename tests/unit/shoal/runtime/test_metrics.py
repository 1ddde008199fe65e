from __future__ import annotations

import asyncio
import importlib
import threading
import time
import types
from collections.abc import Iterable

import pytest

from shoal.core.errors import PreconditionFailed
from shoal.runtime import prometheus
from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, MetricSpec, NoMetrics, Sample
from shoal.runtime.prometheus import PrometheusMetrics, metrics_of
from shoal.runtime.role_settings import RoleSettings
from shoal.runtime.server import GrpcServer

COUNT = MetricSpec(name="test_count_total", kind="counter", text="A count.", labels=("kind",))
LEVEL = MetricSpec(name="test_level", kind="gauge", text="A level.", labels=("role",))
TOOK = MetricSpec(name="test_seconds", kind="histogram", text="A time.", buckets=(0.1, 1.0))


def test_no_metrics_by_default_and_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(metrics_of(RoleSettings()), NoMetrics)
    monkeypatch.setattr(prometheus, "_PACKAGE", "no_such_package")
    with pytest.raises(PreconditionFailed, match="metrics need no_such_package, which is not installed: pip install"):
        metrics_of(RoleSettings(metrics_port=-1))


def test_reflection_tells_of_the_services_and_health(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Iterable[str]] = []
    real = importlib.import_module
    module = types.SimpleNamespace(SERVICE_NAME="reflection", enable_server_reflection=lambda names, server: told.append(names))
    monkeypatch.setattr(importlib, "import_module", lambda name: module if name.startswith("grpc_reflection") else real(name))

    async def scenario() -> None:
        GrpcServer(host="h", port=0, message_bytes=1000).enable_reflection("a.A", "b.B")

    asyncio.run(scenario())
    assert told == [("a.A", "b.B", "grpc.health.v1.Health", "reflection")]


def test_reflection_without_its_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    async def scenario() -> None:
        server = GrpcServer(host="h", port=0, message_bytes=1000)
        monkeypatch.setattr(importlib, "import_module", missing)
        with pytest.raises(PreconditionFailed, match="reflection needs grpc_reflection"):
            server.enable_reflection("a.A")

    asyncio.run(scenario())


def test_a_registry_of_its_own_tells_all_metrics_once() -> None:
    import prometheus_client as client

    one, other = PrometheusMetrics("127.0.0.1", 0), PrometheusMetrics("127.0.0.1", 0)
    one.measure(COUNT, "a")(2)
    one.measure(COUNT, "a")(1)
    one.measure(TOOK)(0.5)
    for role in ("worker", "router"):
        one.gather((LEVEL,), lambda role=role: [Sample(LEVEL, 7, (role,))])  # type: ignore[misc]
    text = client.generate_latest(one._registry).decode()
    assert 'test_count_total{kind="a"} 3.0' in text
    assert 'test_seconds_bucket{le="1.0"} 1.0' in text
    assert 'test_level{role="worker"} 7.0\ntest_level{role="router"} 7.0' in text
    assert text.count("# HELP test_level") == 1
    assert {"test_count_total", "test_level", "test_seconds"} <= one.names()
    assert "test_" not in client.generate_latest(other._registry).decode()


def test_a_call_is_measured_within_ten_microseconds() -> None:
    metrics = PrometheusMetrics("127.0.0.1", 0)
    took, count = metrics.measure(REQUEST_SECONDS, "m"), metrics.measure(REQUESTS, "m", "OK")
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            took(time.perf_counter() - began)
            count(1)
        best = min(best, (time.perf_counter() - began) / 500)
    assert best < 10e-6


def test_no_value_is_lost_between_threads_and_readers() -> None:
    metrics = PrometheusMetrics("127.0.0.1", 0)
    count, took = metrics.measure(REQUESTS, "m", "OK"), metrics.measure(REQUEST_SECONDS, "m")
    read: list[float] = []

    def work() -> None:
        for _ in range(3_000):
            count(1)
            took(0.004)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read.append(value_of(metrics, "shoal_requests_total"))
    assert read == sorted(read)
    assert value_of(metrics, "shoal_requests_total") == 12_000
    assert value_of(metrics, "shoal_request_seconds_count") == 12_000
    assert value_of(metrics, "shoal_request_seconds_sum") == pytest.approx(48.0)


def value_of(metrics: PrometheusMetrics, name: str) -> float:
    samples = [each for family in metrics._registry.collect() for each in family.samples if each.name == name]
    return samples[0].value if samples else 0.0
