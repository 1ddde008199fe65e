"""Every metric is described in docs/reference/metrics.md, word for word, and nothing else is; all of them are in the
lists of their rooms.
"""

from __future__ import annotations

import re
from pathlib import Path

import shoal.coordinator.metrics
import shoal.router.shards.metrics
import shoal.runtime.metrics
import shoal.shard_worker.metrics
from shoal.runtime.metrics import SERVER_METRICS, MetricSpec
from tests.house.source_tree import PACKAGES, python_files
from tests.support.repository import ROOT

ROOMS = {
    shoal.runtime.metrics: SERVER_METRICS,
    shoal.coordinator.metrics: shoal.coordinator.metrics.COORDINATOR_METRICS,
    shoal.router.shards.metrics: shoal.router.shards.metrics.ROUTER_METRICS,
    shoal.shard_worker.metrics: shoal.shard_worker.metrics.WORKER_METRICS,
}
METRICS = {metric.name: metric for metrics in ROOMS.values() for metric in metrics}
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)


def public(file: Path) -> str:
    """The name of a module."""
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name if name.startswith("shoal.") else f"shoal.{name}"


def documented() -> dict[str, tuple[str, str, str]]:
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    return {name: (kind, labels, words) for name, kind, labels, words in ROW.findall(text)}


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    wanted = {name: (each.kind, ", ".join(f"`{label}`" for label in each.labels) or "none", each.text) for name, each in METRICS.items()}
    assert {name: row for name, row in documented().items() if name.startswith("shoal_")} == wanted


def test_every_metric_is_in_the_list_of_its_room() -> None:
    for room, metrics in ROOMS.items():
        own = {value.name for value in vars(room).values() if isinstance(value, MetricSpec)}
        assert own <= {metric.name for metric in (*metrics, *SERVER_METRICS)}, room.__name__


def test_metrics_are_defined_nowhere_else() -> None:
    makers = {public(file) for file in python_files(*PACKAGES) if " MetricSpec(" in file.read_text(encoding="utf-8")}
    assert makers == {room.__name__ for room in ROOMS}


def test_names_say_what_they_count_and_in_what() -> None:
    for name, metric in METRICS.items():
        assert (metric.kind == "counter") == name.endswith("_total"), name
        assert bool(metric.buckets) == (metric.kind == "histogram"), name
        assert metric.kind != "histogram" or name.endswith("_seconds"), name


def test_what_the_library_adds_is_documented_too() -> None:
    from shoal.runtime.prometheus import PrometheusMetrics

    assert PrometheusMetrics("127.0.0.1", 0).names() == {name for name in documented() if not name.startswith("shoal_")}
