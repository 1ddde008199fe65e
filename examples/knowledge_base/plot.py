"""Draws the quality of the methods beside each other, one group of bars for each set of questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from examples.knowledge_base.quality import Quality


def draw(qualities: Mapping[str, Mapping[str, Quality]], path: Path) -> Path:
    """Write recall@10 and nDCG@10 by set and method as PNG, and return the path. At least one set with a method.

    Raises ModuleNotFoundError without matplotlib (part of the dev dependencies).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(ncols=2, figsize=(11, 4.5), sharey=True)
    methods = list(dict.fromkeys(method for each in qualities.values() for method in each))
    width = 0.8 / len(methods)
    for panel, (title, field) in zip(axes, (("recall@10", "recall_10"), ("nDCG@10", "ndcg_10")), strict=True):
        for at, method in enumerate(methods):
            there = [(place, each[method]) for place, each in enumerate(qualities.values()) if method in each]
            heights = [getattr(quality, field) for _, quality in there]
            bars = panel.bar([place + (at - (len(methods) - 1) / 2) * width for place, _ in there], heights, width, label=method)
            panel.bar_label(bars, [f"{height:.2f}" for height in heights])
        panel.set_xticks(range(len(qualities)), list(qualities))
        panel.set_ylim(0, 1.08)
        panel.set_title(title)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
