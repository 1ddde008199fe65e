"""Tables of one run, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

_LOADS = ("c1", "c8", "8 processes", "batch 100")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One table. columns: headings; rows: cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(results: dict[str, Any], console: Console) -> None:
    """Print all tables of a run."""
    for table in _tables(results):
        shown = Table(*table.columns, title=table.title)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for line in _sentences(results):
        console.print(line, highlight=False)


def markdown(results: dict[str, Any]) -> str:
    """Return all tables of a run as Markdown, with the machine and the command."""
    parts = [f"Measured on {results['machine']} by `{results['command']}`."]
    for table in _tables(results):
        lines = [f"**{table.title}**", "", _row(table.columns), _row(["---"] * len(table.columns)), *(_row(row) for row in table.rows)]
        parts.append("\n".join(lines))
    parts.append("\n".join(f"* {line}" for line in _sentences(results)))
    return "\n\n".join(parts) + "\n"


def _tables(results: dict[str, Any]) -> list[Rows]:
    tables = []
    if "loads" in results:
        tables += [_loads(results), _filters(results)]
    if "peers" in results:
        tables.append(_systems(results))
    if "growth" in results:
        tables += [_shards(results["growth"]), _points(results["growth"]), _collections(results["growth"])]
    return tables


def _loads(results: dict[str, Any]) -> Rows:
    rows = [
        (name, f"{each['qps']:,.0f}", f"{each['p50_ms']:.2f}", f"{each['p99_ms']:.2f}", each["beside"], f"{each['ratio']:.2f}")
        for name, each in results["loads"].items()
    ]
    title = f"{results['rows']:,} x {results['dim']}, k=10, target 0.95: recall@10 {results['recall']:.4f}, ef {results['ef']}; "
    title += f"raw FAISS with the same ef, {results['raw']['ef']} would do for it ({results['raw']['recall']:.4f})"
    return Rows(title=title, columns=("load", "QPS", "p50 ms", "p99 ms", "beside", "ratio"), rows=tuple(rows))


def _filters(results: dict[str, Any]) -> Rows:
    rows = [
        (
            name,
            f"{each['selectivity']:.1%}",
            f"{each['qps']:,.0f}",
            f"{each['p50_ms']:.2f}",
            f"{each['recall']:.4f}",
            str(each["short"]),
            f"{each['raw_qps']:,.0f}",
            f"{each['ratio']:.2f}",
        )
        for name, each in results["filters"].items()
    ]
    columns = ("filter", "matching", "QPS", "p50 ms", "recall", "short", "exact in process QPS", "ratio")
    return Rows(title="filters, one query at a time", columns=columns, rows=tuple(rows))


def _systems(results: dict[str, Any]) -> Rows:
    rows = [_shoal_row(results), _raw_row(results)] if "loads" in results else []
    rows += [_peer_row(each) for each in results["peers"]]
    columns = ("system", *_LOADS, "label = 3", "recall", "short", "1 %", "recall", "load s", "memory MiB", "ef", "recall@10")
    return Rows(title="queries per second beside other systems, least ef with recall@10 >= 0.95", columns=columns, rows=tuple(rows))


def _shoal_row(results: dict[str, Any]) -> tuple[str, ...]:
    label, share = (results["filters"][name] for name in ("label = 3 (goes with the vectors)", "random 1 %"))
    memory = sum(results["steady_memory_bytes"].values())
    return (
        "Shoal",
        *(f"{results['loads'][name]['qps']:,.0f}" for name in _LOADS),
        *(f"{label['qps']:,.0f}", f"{label['recall']:.3f}", str(label["short"]), f"{share['qps']:,.0f}", f"{share['recall']:.3f}"),
        *(f"{results['load_and_seal_s']:.1f}", f"{memory / 2**20:,.0f}", str(results["ef"]), f"{results['recall']:.3f}"),
    )


def _raw_row(results: dict[str, Any]) -> tuple[str, ...]:
    loads = results["loads"]
    figures = (f"{loads[f'raw {name}']['qps']:,.0f}" if f"raw {name}" in loads else "" for name in _LOADS)
    return ("raw FAISS", *figures, "", "", "", "", "", f"{results['raw_build_s']:.1f}", "", str(results["ef"]), "")


def _peer_row(each: dict[str, Any]) -> tuple[str, ...]:
    if "error" in each:
        return (each["name"], f"failed: {each['error'][:80]}", *[""] * 12)
    label, share = each["filters"]["label = 3"], each["filters"]["random 1 %"]
    return (
        each["name"],
        *(f"{each['loads'][name]['qps']:,.0f}" if name in each["loads"] else "-" for name in _LOADS),
        *(f"{label['qps']:,.0f}", f"{label['recall']:.3f}", str(label["short"]), f"{share['qps']:,.0f}", f"{share['recall']:.3f}"),
        *(f"{each['load_s']:.1f}", f"{each['memory_bytes'] / 2**20:,.0f}", str(each["ef"]), f"{each['recall']:.3f}"),
    )


def _shards(growth: dict[str, Any]) -> Rows:
    rows = []
    for each in growth["shards"]:
        one, hop = each["one process"], each["over a hop"]
        row = [str(each["shards"]), f"{one['qps']:,.0f}", f"{one['p50_ms']:.2f}", f"{one['worker_us']:,.0f}", f"{hop['qps']:,.0f}"]
        rows.append((*row, f"{hop['p50_ms']:.2f}", f"{hop['router_us']:,.0f}", f"{hop['worker_us']:,.0f}"))
    columns = ("shards", "QPS", "p50 ms", "CPU us", "QPS over a hop", "p50 ms", "router CPU us", "worker CPU us")
    return Rows(title="growth with shards, one query at a time", columns=columns, rows=tuple(rows))


def _points(growth: dict[str, Any]) -> Rows:
    rows = []
    for each in growth["points"]:
        one, hop = each["one process"], each["over a hop"]
        row = [f"{each['points']:,}", f"{one['qps']:,.0f}", f"{one['p50_ms']:.2f}", f"{hop['qps']:,.0f}", f"{hop['p50_ms']:.2f}"]
        rows.append((*row, f"{each['recall']:.3f}"))
    columns = ("points", "QPS", "p50 ms", "QPS over a hop", "p50 ms", "recall@10")
    return Rows(title="growth with points, one query at a time", columns=columns, rows=tuple(rows))


def _collections(growth: dict[str, Any]) -> Rows:
    rows = [
        (
            f"{each['collections']:,}",
            f"{each['create_and_fill_s'] * 1e3:,.0f}",
            f"{each['qps']:,.0f}",
            f"{each['p50_ms']:.2f}",
            str(each["threads"]),
            str(each["files"]),
            f"{each['idle_cpu']:.1%}",
            f"{each['peak_memory_bytes'] / 2**20:,.0f}",
        )
        for each in growth["collections"]
    ]
    columns = ("collections", "create and fill ms", "QPS", "p50 ms", "threads", "files", "idle CPU", "peak MiB")
    return Rows(title="growth with collections of one shard", columns=columns, rows=tuple(rows))


def _sentences(results: dict[str, Any]) -> list[str]:
    return _search_sentences(results) + _control_sentences(results) + _shards_sentences(results)


def _control_sentences(results: dict[str, Any]) -> list[str]:
    if "control" not in results:
        return []
    found = results["control"]
    return [
        f"control plane, {found['shards']:,} shards x {found['replicas']} on {found['workers']} workers: "
        f"placed in {found['place_s']:.1f} s "
        f"(decided in {found['decide_s']:.2f} s); one change of the map costs a worker {found['worker_elsewhere_us']:,.0f} us "
        f"({found['worker_own_us']:,.0f} us if it concerns it), a router {found['router_us']:,.0f} us, a coordinator's round "
        f"{found['round_us']:,.0f} us; {found['failover_shards']} primaries of a lost worker are replaced in {found['failover_ms']:.0f} ms"
    ]


def _shards_sentences(results: dict[str, Any]) -> list[str]:
    if "shards" not in results:
        return []
    found = results["shards"]
    return [
        f"{found['shards']:,} empty shards on one worker: {found['threads']} threads, {found['files']:,} files, "
        f"{found['idle_cpu']:.1%} of a core when idle, {found['resident_bytes'] / 2**20:,.0f} MiB resident "
        f"({found['booked_bytes'] / 2**20:,.0f} MiB booked); all served {found['created_s']:.1f} s after the call that creates them, "
        f"and {found['restart_s']:.1f} s after a restart"
    ]


def _search_sentences(results: dict[str, Any]) -> list[str]:
    if "loads" not in results:
        return []
    quiet, busy = results["build"]["quiet"], results["build"]["during"]
    restart, raw_s, whole_s = results["restart"], results["raw_build_s"], results["load_and_seal_s"]
    index = results["index_memory_bytes"] / results["vectors_bytes"]
    peak = max(results["peak_memory_bytes"].values())
    return [
        f"one query at a time, quiet: {quiet['qps']:,.0f} QPS, p50 {quiet['p50_ms']:.2f} ms, p99 {quiet['p99_ms']:.2f} ms; "
        f"while {results['rows']:,} rows are sealed: {busy['qps']:,.0f} QPS, p50 {busy['p50_ms']:.2f} ms, p99 {busy['p99_ms']:.2f} ms",
        f"first right answer {restart['worker_s']:.2f} s after the worker's start, {restart['command_s']:.2f} s after 'shoal up'",
        f"load {results['load_s']:.1f} s; load and seal {whole_s:.1f} s, {whole_s / raw_s:.2f} x a raw FAISS build ({raw_s:.1f} s)",
        f"index memory {results['index_memory_bytes'] / 2**20:,.0f} MiB, {index:.2f} x the raw vectors; "
        f"largest process: peak {peak / 2**20:,.0f} MiB",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
