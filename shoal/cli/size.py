"""The command `shoal size`: estimate what a collection will need before it is created. It asks no cluster."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import JsonOption
from shoal.cli.vector_options import NamedVectorOption, named_vectors_of
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.named_vectors import named_vectors_from_input
from shoal.core.shown import shown
from shoal.core.sizing import ReplicaSize, SizeEstimate, size_of

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

_MEMORY_PARTS = {
    "index": "vectors and index",
    "tables": "tables of rows",
    "ids": "string ids",
    "payloads": "index over payloads",
    "growing": "segment that takes new rows",
    "base": "caches and threads",
}
_DISK_PARTS = {"store": "store of points", "log": "log", "segments": "segments"}


def size(
    *,
    points: Annotated[int, typer.Option(metavar="N", help="Points of the collection.")],
    dim: Annotated[int | None, typer.Option(metavar="D", help="Length of its vectors.")] = None,
    vector: NamedVectorOption = None,
    index: Annotated[str, typer.Option(help="auto, flat, hnsw, ivf or a FAISS factory string.")] = "auto",
    payload_bytes: Annotated[float, typer.Option(metavar="B", help="Mean size of a payload, as JSON.")] = 0,
    id_bytes: Annotated[float, typer.Option(metavar="B", help="Mean size of a string id; 0 for integers.")] = 0,
    text_bytes: Annotated[float, typer.Option(metavar="B", help="Mean size of its text fields; 0 without any.")] = 0,
    shards: Annotated[int, typer.Option(metavar="S", help="Parts the collection is cut into.")] = 1,
    replicas: Annotated[int, typer.Option(metavar="R", help="Replicas of each shard.")] = 1,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory budget of one worker, as in 8GiB: does it fit?")] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate memory and disk of a collection: for one replica, and in all."""
    budget = None if memory is None else bytes_of(memory)
    if (dim is None) == (not vector):
        raise typer.BadParameter("give --dim for one vector without a name, or --vector NAME=DIM for each of several")
    vectors = named_vectors_from_input(named_vectors_of(vector), metric=Metric.L2, index=index, limits=DEFAULT_LIMITS)
    estimate = size_of(
        points=points,
        dim=dim or 0,
        index=index,
        vectors=vectors,
        payload_bytes=payload_bytes,
        id_bytes=id_bytes,
        text_bytes=text_bytes,
        shards=shards,
        replicas=replicas,
    )
    fit = {} if budget is None else fitting(estimate, budget, copies=replicas)
    if as_json:
        totals = {"memory": estimate.memory, "disk": estimate.disk}
        totals |= {"files": estimate.files}
        replica = dataclasses.asdict(estimate.replica) | {"memory": estimate.replica.memory, "disk": estimate.replica.disk}
        output.document({"replicas": estimate.replicas, "replica": replica, **totals, **fit})
        return
    _show(estimate)
    if budget is not None:
        output.line("")
        output.line(_in_words(estimate, budget, fit))


def bytes_of(text: str, option: str = "--memory") -> int:
    """Return the bytes of a size such as 512MiB, 8G or 1.5TiB; units are powers of 1,024. option: for errors.

    Raises BadParameter.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])i?B?|B)?\s*", text, flags=re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[(found[2] or "").upper()]) if found and len(text) <= 32 else 0
    if size < 1:
        raise typer.BadParameter(f"{option} is {shown(text)}, it must be a size such as 512MiB or 8GiB")
    return size


def fitting(estimate: SizeEstimate, budget: int, *, copies: int) -> dict[str, Any]:
    """Return budget, fits (one worker holds all replicas), replicas_a_worker and workers.

    replicas_a_worker: replicas that one worker holds beside a build; workers: workers needed, None if no number is
    enough. copies: replicas of each shard, which lie on different workers; budget: bytes.
    """
    each = estimate.replica.memory
    held = max(0, budget - estimate.replica.build) // max(1, each)
    workers = max(copies, math.ceil(estimate.replicas / held)) if held else None
    return {"budget": budget, "fits": workers == 1, "replicas_a_worker": min(held, estimate.replicas), "workers": workers}


def _show(estimate: SizeEstimate) -> None:
    one, many = estimate.replica, estimate.replicas
    rows = [
        *_part_rows("memory", _MEMORY_PARTS, one, many),
        ("memory, in all", one.memory, estimate.memory),
        ("memory, while a segment is built", one.memory + one.build, None),
        *_part_rows("disk", _DISK_PARTS, one, many),
        ("disk, in all", one.disk, estimate.disk),
        ("disk, while segments are merged", one.disk + one.merge, None),
    ]
    heading = ("what", "one replica", f"all {many}") if many > 1 else ("what", "one replica")
    sizes = ((what, *(None if value is None else output.size(value) for value in values)) for what, *values in rows)
    files = ("open files", f"{one.files:,}", f"{estimate.files:,}")
    output.table(heading, (line[: len(heading)] for line in (*sizes, files)))


def _part_rows(kind: str, parts: dict[str, str], one: ReplicaSize, many: int) -> list[tuple[str, int, int | None]]:
    return [(f"{kind}: {words}", getattr(one, name), many * getattr(one, name)) for name, words in parts.items()]


def _in_words(estimate: SizeEstimate, budget: int, fit: dict[str, Any]) -> str:
    room = output.size(budget)
    if fit["fits"]:
        return f"it fits one worker with a budget of {room}"
    need = output.size(estimate.replica.memory + estimate.replica.build)
    if fit["workers"] is None:
        needs = f"one replica needs {need} while a segment is built"
        return f"it fits no worker with a budget of {room}: {needs}; use more shards, a smaller index or more memory"
    held, workers = fit["replicas_a_worker"], fit["workers"]
    holds = f"which holds {held} of {estimate.replicas} replicas"
    return f"it does not fit one worker with a budget of {room}, {holds}; {workers} workers are needed"
