"""The interface through which a process reports its metrics. Knows no format and no server.

Rooms describe their metrics as values and get plain functions to call. If metrics are off, these functions do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from shoal.runtime.standing import RoleStandings

Measure = Callable[[float], None]
"""Adds to a counter, or adds a value to a histogram."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """One metric: its full name, its meaning (text) and the names of its labels.

    buckets: upper bounds of a histogram, ascending.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """The present value of a metric. labels: values, in the order of the metric's labels."""

    metric: MetricSpec
    value: float
    labels: tuple[str, ...] = ()


class Metrics(Protocol):
    """The metrics of one process. standing: what its roles tell probes, which ask at the same port."""

    @property
    def standing(self) -> RoleStandings:
        """Return what probes are told."""
        ...

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        """Return the function for one counter or histogram with these label values.

        Keep the function: to call it is cheap, to make it is not.
        """
        ...

    def gather(self, metrics: tuple[MetricSpec, ...], read: Callable[[], Iterable[Sample]]) -> None:
        """Call `read`, on another thread, for samples of these metrics whenever the metrics are read."""
        ...

    def start(self) -> None:
        """Begin to answer. Raises Unavailable if the port is taken."""
        ...

    def stop(self) -> None:
        """Stop answering. A second call does nothing."""
        ...


def unmeasured(value: float) -> None:
    """Do nothing: the Measure of a metric that is not measured."""


class NoMetrics:
    """Metrics that are switched off."""

    def __init__(self) -> None:
        self.standing = RoleStandings()

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        """See Metrics."""
        return unmeasured

    def gather(self, metrics: tuple[MetricSpec, ...], read: Callable[[], Iterable[Sample]]) -> None:
        """See Metrics."""

    def start(self) -> None:
        """See Metrics."""

    def stop(self) -> None:
        """See Metrics."""


REQUESTS = MetricSpec(
    name="shoal_requests_total",
    kind="counter",
    text="Calls answered, by gRPC method and status code. Every code but OK is an error.",
    labels=("method", "code"),
)
REQUEST_SECONDS = MetricSpec(
    name="shoal_request_seconds",
    kind="histogram",
    text="Time from the arrival of a call to its answer, by gRPC method.",
    labels=("method",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
STORE_CONNECTED = MetricSpec(name="shoal_store_connected", kind="gauge", text="1 while etcd answers, else 0.", labels=("role",))
LEASE_AGE_SECONDS = MetricSpec(
    name="shoal_lease_age_seconds",
    kind="gauge",
    text="Time since the lease was last renewed; absent without a lease. Near lease_ttl_s it is about to be lost.",
    labels=("role",),
)
HTTP_CONNECTIONS = MetricSpec(
    name="shoal_http_connections", kind="gauge", text="Connections that are open on the HTTP port.", labels=("role",)
)
HTTP_REFUSED = MetricSpec(
    name="shoal_http_refused_total",
    kind="counter",
    text="HTTP requests that were refused before they were a call, by HTTP status.",
    labels=("role", "status"),
)
CERTIFICATE_END = MetricSpec(
    name="shoal_certificate_end_timestamp",
    kind="gauge",
    text="When the certificate in tls_cert ends, in seconds since 1970; absent without TLS.",
    labels=("role",),
)
SERVER_METRICS = (REQUESTS, REQUEST_SECONDS, STORE_CONNECTED, LEASE_AGE_SECONDS, HTTP_CONNECTIONS, HTTP_REFUSED, CERTIFICATE_END)
"""The metrics of every role."""
