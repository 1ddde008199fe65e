"""Metrics for Prometheus: a registry of this process, read at the port for monitoring.

Only this module uses prometheus_client.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shoal.core.addresses import joined
from shoal.core.errors import NotInstalled, Unavailable
from shoal.runtime.logs import event
from shoal.runtime.metrics import Measure, Metrics, MetricSpec, NoMetrics, Sample
from shoal.runtime.metrics_port import METRICS_PATH, MetricsPort, Page, PageAnswer, probes
from shoal.runtime.role_settings import RoleSettings
from shoal.runtime.server_tls import Callers, ServerTls, server_tls
from shoal.runtime.standing import RoleStandings
from shoal.wire.tls import Tls

log = logging.getLogger("shoal.metrics")

_PACKAGE = "prometheus_client"

Read = Callable[[], Iterable[Sample]]


def metrics_of(settings: RoleSettings, tls: Tls | None = None) -> Metrics:
    """Return the metrics that the settings ask for. tls: None for plain text.

    Raises NotInstalled if prometheus_client is not installed.
    """
    if settings.metrics_port == 0:
        return NoMetrics()
    return PrometheusMetrics(settings.host, max(settings.metrics_port, 0), server_tls(tls, Callers.CERTIFIED))


class PrometheusMetrics:
    """Metrics over prometheus_client. `address` is host:port after the start."""

    def __init__(self, host: str, port: int, secured: ServerTls | None = None) -> None:
        """port: 0 for any free port. secured: None for plain text."""
        self.address = ""
        self._host, self._port, self._secured = host, port, secured
        self._client: Any = _client()
        self._registry: Any = self._client.CollectorRegistry()
        self._made: dict[str, Any] = {}
        self._gathered = _Gathered(self._client.core)
        self._told: Any = self._client.make_wsgi_app(self._registry)
        self._registry.register(self._gathered)
        self._client.ProcessCollector(registry=self._registry)
        self.standing = RoleStandings()
        self._serving: MetricsPort | None = None

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        """See Metrics."""
        found = self._made.get(metric.name)
        if found is None:
            found = self._made[metric.name] = self._make(metric)
        labelled = found.labels(*labels) if metric.labels else found
        return self._gathered.later(labelled.observe if metric.kind == "histogram" else labelled.inc)

    def gather(self, metrics: tuple[MetricSpec, ...], read: Read) -> None:
        """See Metrics."""
        self._gathered.add(metrics, read)

    def start(self) -> None:
        """See Metrics."""
        pages: dict[str, Page] = {METRICS_PATH: self._page, **probes(self.standing)}
        try:
            self._serving = MetricsPort(self._host, self._port, pages, self._secured)
        except OSError as error:
            where = joined(self._host, self._port)
            raise Unavailable(f"metrics cannot listen on {where} ({error.strerror}): choose another metrics_port") from None
        self.address = joined(self._host, self._serving.port)
        log.info(event("metrics_listening", address=self.address))

    def stop(self) -> None:
        """See Metrics."""
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.close()

    def _page(self, headers: Mapping[str, str]) -> PageAnswer:
        """Return all metrics, in the format and compressed as the reader accepts it."""
        named = ((f"HTTP_{name.upper().replace('-', '_')}", value) for name, value in headers.items() if name.startswith("accept"))
        told: list[Any] = []
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": METRICS_PATH, "QUERY_STRING": "", **dict(named)}
        body = b"".join(self._told(environment, lambda status, heads: told.extend((status, heads))))
        return PageAnswer(status=int(told[0].split()[0]), headers=tuple(told[1]), body=body)

    def names(self) -> set[str]:
        """Return the names of all metrics that may be reported, including those of the process itself."""
        own = {family.name + ("_total" if family.type == "counter" else "") for family in self._registry.collect()}
        return own | set(self._made) | self._gathered.names()

    def _make(self, metric: MetricSpec) -> Any:
        if metric.kind == "histogram":
            return self._client.Histogram(metric.name, metric.text, metric.labels, buckets=metric.buckets, registry=self._registry)
        return self._client.Counter(metric.name, metric.text, metric.labels, registry=self._registry)


_MOST_HELD = 256


class _HeldValues:
    """Values of one metric that are not measured yet. Any thread may add some at any time.

    To measure one value beside other work costs several times as much as to measure many at once.
    """

    __slots__ = ("_lock", "_measure", "_values")

    def __init__(self, measure: Measure) -> None:
        self._measure, self._lock = measure, threading.Lock()
        self._values: deque[float] = deque()

    def add(self, value: float) -> None:
        """Keep a value; measure all of them if there are many."""
        values = self._values
        values.append(value)
        if len(values) >= _MOST_HELD:
            self.measure()

    def measure(self) -> None:
        """Measure all values."""
        with self._lock:
            for _ in range(len(self._values)):
                self._measure(self._values.popleft())


class _Gathered:
    """Collects the metrics that are read only on request.

    There is one collector per process, because two roles may report the same metric.
    """

    def __init__(self, core: Any) -> None:
        self._core = core
        self._metrics: dict[str, MetricSpec] = {}
        self._reads: tuple[Read, ...] = ()
        self._held: list[_HeldValues] = []

    def add(self, metrics: tuple[MetricSpec, ...], read: Read) -> None:
        """Add a function that returns samples, and its metrics."""
        self._metrics |= {metric.name: metric for metric in metrics}
        self._reads = (*self._reads, read)

    def later(self, measure: Measure) -> Measure:
        """Return a measure that keeps its values until there are many, or until the metrics are read."""
        values = _HeldValues(measure)
        self._held.append(values)
        return values.add

    def names(self) -> set[str]:
        """Return the names of all metrics that may be reported."""
        return set(self._metrics)

    def collect(self) -> Iterator[Any]:
        """See prometheus_client.registry.Collector. It is the first one that a registry asks."""
        for values in list(self._held):
            values.measure()
        kinds = {"gauge": self._core.GaugeMetricFamily, "counter": self._core.CounterMetricFamily}
        families = {each.name: kinds[each.kind](each.name, each.text, labels=each.labels) for each in self._metrics.values()}
        for read in self._reads:
            for sample in read():
                families[sample.metric.name].add_metric(sample.labels, sample.value)
        yield from families.values()


def _client() -> Any:
    try:
        client = importlib.import_module(_PACKAGE)
        importlib.import_module(f"{_PACKAGE}.core")
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"metrics need {error.name}, which is not installed: pip install 'shoal[server]', or set metrics_port to 0"
        ) from None
    return client
