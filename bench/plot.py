"""Draws the loads of one run: queries per second of the cluster and of raw FAISS."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(loads: dict[str, dict[str, Any]], path: Path) -> None:
    """Write a bar chart as PNG. Raises ModuleNotFoundError without matplotlib (part of the dev dependencies)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ours = {name: each for name, each in loads.items() if not name.startswith("raw")}
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    places = range(len(ours))
    bars = axes.bar([at - 0.2 for at in places], [each["qps"] for each in ours.values()], 0.4, label="Shoal")
    axes.bar([at + 0.2 for at in places], [loads[each["beside"]]["qps"] for each in ours.values()], 0.4, label="raw FAISS, same graphs")
    axes.bar_label(bars, [f"{each['ratio']:.2f} x" for each in ours.values()])
    axes.set_xticks(list(places), list(ours))
    axes.set_ylabel("queries per second")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
