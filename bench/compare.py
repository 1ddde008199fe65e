"""`python -m bench.compare a.json b.json`: compares two runs by their ratios to raw FAISS, since the machines, or the
hour, may differ.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def main() -> int:
    """Print a table of the ratios of both runs. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path, help="bench.json of one run")
    parser.add_argument("after", type=Path, help="bench.json of the other run")
    options = parser.parse_args()
    try:
        before, after = _ratios_of(options.before), _ratios_of(options.after)
    except ValueError as error:
        parser.error(str(error))
    table = Table("figure", options.before.name, options.after.name, "change", title="ratio to raw FAISS of the same run")
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        change = f"{other / one:.2f} x" if one and other else ""
        table.add_row(name, *("" if each is None else f"{each:.3f}" for each in (one, other)), change)
    Console().print(table)
    return 0


def _ratios_of(path: Path) -> dict[str, float]:
    """Return the ratios of the run in this file. Raises ValueError if it has none."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as the bench.json of a run: {error}") from None
    if not isinstance(results, dict) or "loads" not in results:
        raise ValueError(f"{path} has no figures beside raw FAISS: measure with --parts shoal")
    return _ratios(results)


def _ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a run that do not depend on the machine. Larger is better, but for load and seal."""
    ratios = {name: each["ratio"] for name, each in results["loads"].items() if not name.startswith("raw")}
    ratios |= {f"filter {name}": each["ratio"] for name, each in results["filters"].items()}
    ratios["load and seal / raw build"] = results["load_and_seal_s"] / results["raw_build_s"]
    return ratios


if __name__ == "__main__":
    raise SystemExit(main())
