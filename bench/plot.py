"""Draws one run: loads beside raw FAISS, other systems, and cost against shards and points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SIZE = (8, 4.5)


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write the plots of the parts that were measured as PNG, and return their paths.

    Raises ModuleNotFoundError without matplotlib (part of the dev dependencies).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    drawn = []
    if "loads" in results:
        drawn.append(_loads(results["loads"], folder / "bench.png"))
    if results.get("peers"):
        drawn.append(_recall_and_qps(results, folder / "recall.png"))
        drawn.append(_concurrency(results, folder / "concurrency.png"))
    if "growth" in results:
        drawn.append(_growth(results["growth"], folder / "growth.png"))
    return drawn


def _loads(loads: dict[str, dict[str, Any]], path: Path) -> Path:
    """Draw the queries per second of the cluster and of raw FAISS."""
    from matplotlib import pyplot

    ours = {name: each for name, each in loads.items() if not name.startswith("raw")}
    figure, axes = pyplot.subplots(figsize=(12, 4.5))
    places = range(len(ours))
    bars = axes.bar([at - 0.2 for at in places], [each["qps"] for each in ours.values()], 0.4, label="Shoal")
    axes.bar([at + 0.2 for at in places], [loads[each["beside"]]["qps"] for each in ours.values()], 0.4, label="raw FAISS")
    axes.bar_label(bars, [f"{each['ratio']:.2f} x" for each in ours.values()])
    axes.set_xticks(list(places), list(ours), rotation=20)
    axes.set_ylabel("queries per second")
    axes.legend()
    return _saved(figure, path)


def _recall_and_qps(results: dict[str, Any], path: Path) -> Path:
    """Draw recall against queries per second of single searches, one point for each system."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=_SIZE)
    points = [(each["name"], each["recall"], each["loads"]["c1"]["qps"]) for each in results["peers"] if "error" not in each]
    if "loads" in results:
        points.append(("Shoal", results["recall"], results["loads"]["c1"]["qps"]))
        points.append(("raw FAISS", results["raw"]["recall"], results["loads"]["raw c1"]["qps"]))
    for name, reached, qps in points:
        axes.scatter(reached, qps, label=name)
    axes.set_yscale("log")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries per second, one at a time")
    return _saved(figure, path)


def _concurrency(results: dict[str, Any], path: Path) -> Path:
    """Draw the median latency of one and of eight callers."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=_SIZE)
    systems = {each["name"]: each["loads"] for each in results["peers"] if "error" not in each}
    if "loads" in results:
        systems["Shoal"] = results["loads"]
    for name, loads in systems.items():
        axes.plot([1, 8], [loads[load]["p50_ms"] for load in ("c1", "c8")], marker="o", label=name)
    axes.set_yscale("log")
    axes.set_xticks([1, 8])
    axes.set_xlabel("callers at the same time")
    axes.set_ylabel("median latency, ms")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _saved(figure, path)


def _growth(growth: dict[str, Any], path: Path) -> Path:
    """Draw the cost of a search against shards, and its median latency against points."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(ncols=2, figsize=(12, 4.5))
    shards = [each["shards"] for each in growth["shards"]]
    left.plot(shards, [each["one process"]["worker_us"] for each in growth["shards"]], marker="o", label="one process")
    left.plot(shards, [each["over a hop"]["router_us"] for each in growth["shards"]], marker="o", label="over a hop: router")
    left.plot(shards, [each["over a hop"]["worker_us"] for each in growth["shards"]], marker="o", label="over a hop: worker")
    left.set_xticks(shards)
    left.set_ylim(bottom=0)
    left.set_xlabel("shards")
    left.set_ylabel("CPU of a search, us")
    left.legend()
    points = [each["points"] for each in growth["points"]]
    for name in ("one process", "over a hop"):
        right.plot(points, [each[name]["p50_ms"] for each in growth["points"]], marker="o", label=name)
    right.set_xscale("log")
    right.set_ylim(bottom=0)
    right.set_xlabel("points")
    right.set_ylabel("median latency, ms")
    right.legend()
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
