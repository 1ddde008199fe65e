"""`python -m bench.ray_sink`: rows/s of the sink of Ray Data beside `shoal import`, for the same Parquet file.

Both load Fashion-MNIST (60,000 x 784 float32, with payloads; --times more often, under other ids) into an empty
collection of two shards of one cluster, in turns. The time of the sink is that of `write_datasink`: Ray lists the file,
starts processes, reads and writes, of which listing and starting take some two seconds whatever the file holds;
`sink_tasks` counts from the first task on, which reads and writes. The time of the command is what it says itself.
Starting Ray and starting the command count for neither.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

import shoal
from bench.data import load
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.processes.ports import free_port

ROUNDS, NAME, PROCESSORS = 3, "things", 2
ROWS_IN_GROUP = 5_000


def main() -> int:
    """Measure, and print JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench-ray-sink", description="Rows/s of the sink of Ray Data beside shoal import.")
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--rows", type=int, help="only so many rows")
    parser.add_argument("--times", type=int, default=1, help="how often the rows are in the file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        file, rows = _parquet(Path(folder) / "points.parquet", given.data, given.rows, given.times)
        with ForegroundCluster(data=Path(folder) / "cluster", flags=(f"--http-port={free_port()}",)) as cluster:
            print(json.dumps(_measured(cluster.address, file, rows, given.rounds), indent=2))
    return 0


def _parquet(file: Path, data: Path | None, rows: int | None, times: int) -> tuple[Path, int]:
    loaded = load(data, rows)
    count, dim = loaded.base.shape
    vectors = pyarrow.FixedSizeListArray.from_arrays(loaded.base.astype(np.float32).ravel(), dim)
    writer: Any = None
    for time_over in range(times):
        ids = np.arange(time_over * count, (time_over + 1) * count)
        table = pyarrow.table({"id": ids, "vector": vectors, "label": loaded.labels[:count], "bucket": ids % 100})
        writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=ROWS_IN_GROUP)
    writer.close()
    return file, count * times


def _measured(address: str, file: Path, rows: int, rounds: int) -> dict[str, Any]:
    import ray.data

    # Ray lowers the priority of its workers; beside other work they would wait where the command does not.
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder, shoal.connect(address) as client:
        ray.init("local", num_cpus=PROCESSORS, include_dashboard=False, log_to_driver=False, _temp_dir=folder, _node_ip_address="127.0.0.1")
        ray.data.DataContext.get_current().enable_progress_bars = False
        told: dict[str, list[float]] = {"sink": [], "sink_tasks": [], "import": []}
        try:
            _sink(client, address, file)
            for _ in range(rounds):
                told["import"].append(round(rows / _import(client, address, file)))
                whole_s, tasks_s = _sink(client, address, file)
                told["sink"].append(round(rows / whole_s))
                told["sink_tasks"].append(round(rows / tasks_s))
        finally:
            ray.shutdown()
    commands = told["import"]
    ratios = {name: [round(a / b, 2) for a, b in zip(told[name], commands, strict=True)] for name in ("sink", "sink_tasks")}
    medians = {name: statistics.median(each) for name, each in ratios.items()}
    return {"rows": rows, "rows_per_s": told, "to_import": ratios, "medians": medians}


def _emptied(client: shoal.Client) -> None:
    if client.collection_exists(NAME):
        client.drop_collection(NAME)
    client.create_collection(NAME, dim=784, shards=2)


def _sink(client: shoal.Client, address: str, file: Path) -> tuple[float, float]:
    """Return the seconds of one load, and those from the begin of the first task to the end of the last one."""
    import ray.data

    import shoal.ray

    times = file.with_suffix(".times")

    class TimedSink(shoal.ray.Sink):
        def write(self, blocks: Any, ctx: Any) -> int:
            began = time.monotonic()
            written = super().write(blocks, ctx)
            with times.open("a") as told:
                told.write(f"{began} {time.monotonic()}\n")
            return written

    _emptied(client)
    times.write_text("")
    dataset, sink = ray.data.read_parquet(str(file)), TimedSink(address, NAME)
    started = time.monotonic()
    dataset.write_datasink(sink)
    seconds = time.monotonic() - started
    assert sink.result is not None
    assert client.count(NAME, consistency="primary") == sink.result.points
    begins, ends = zip(*(map(float, line.split()) for line in times.read_text().splitlines()), strict=True)
    return seconds, max(ends) - min(begins)


def _import(client: shoal.Client, address: str, file: Path) -> float:
    """Return the seconds of one load, as the command tells them."""
    _emptied(client)
    command = [sys.executable, "-m", "shoal.cli.entry", "--address", address, "import", str(file), "--collection", NAME, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


if __name__ == "__main__":
    sys.exit(main())
