"""`shoal collection ...`: create, list, show, optimize, drop."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.client.results import CollectionInfo, CollectionSummary

app = typer.Typer(help="Create, list, show, optimize and drop collections.", rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]
MetricOption = Annotated[str, typer.Option(help="l2, ip or cosine.")]
ShardsOption = Annotated[int, typer.Option(help="Parts the collection is cut into.")]


@app.command()
def create(
    ctx: typer.Context,
    name: NameArgument,
    *,
    dim: Annotated[int, typer.Option(help="Length of its vectors.")],
    metric: MetricOption = "l2",
    shards: ShardsOption = 1,
    replicas: Annotated[int, typer.Option(help="Copies of each shard.")] = 1,
    index: Annotated[str, typer.Option(help="auto or hnsw.")] = "auto",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a collection; returns when it can be used."""
    with client_of(ctx, address, timeout) as client:
        client.create_collection(name, dim, metric, shards, replicas, index=index)
    _said(as_json, {"created": name}, f"created {name}: dim {dim}, {metric}, {shards} shard{'' if shards == 1 else 's'}")


@app.command("list")
def list_all(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """List all collections."""
    with client_of(ctx, address, timeout) as client:
        listed = client.list_collections()
    if as_json:
        output.document([_described(each) for each in listed])
        return
    output.table(
        ("name", "state", "dim", "metric", "shards", "replicas", "index"),
        (
            (each.name, each.state, each.spec.dim, each.spec.metric, each.spec.shards, each.spec.replicas, each.spec.index)
            for each in listed
        ),
    )


@app.command()
def show(
    ctx: typer.Context, name: NameArgument, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False
) -> None:
    """Show a collection: its points, rows, segments and sizes."""
    with client_of(ctx, address, timeout) as client:
        info = client.describe_collection(name)
    described = _described(info) | {
        "points": info.points,
        "growing_rows": info.growing_rows,
        "sealed_rows": info.sealed_rows,
        "segments": info.segments,
        "builds_pending": info.builds_pending,
        "bytes": info.bytes,
        "memory_bytes": info.memory_bytes,
    }
    if as_json:
        output.document(described)
        return
    sizes = {"bytes": ("on disk", output.size(info.bytes)), "memory_bytes": ("in memory", output.size(info.memory_bytes))}
    output.table(("what", "value"), (sizes.get(key, (key.replace("_", " "), str(value))) for key, value in described.items()))


@app.command()
def optimize(
    ctx: typer.Context, name: NameArgument, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False
) -> None:
    """Seal and merge everything now; returns when no index build is pending (600 s at most, unless --timeout says more)."""
    started = time.monotonic()
    with client_of(ctx, address, timeout) as client:
        client.optimize(name)
    seconds = time.monotonic() - started
    _said(as_json, {"optimized": name, "seconds": round(seconds, 3)}, f"optimized {name} in {seconds:.1f} s")


@app.command()
def drop(
    ctx: typer.Context,
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop a collection and all its data; asks first, unless --yes."""
    if not yes and not output.sure(f"drop collection {name} and all its points?"):
        output.error(f"collection {name} was not dropped", "answer y, or pass --yes")
        raise typer.Exit(1)
    with client_of(ctx, address, timeout) as client:
        client.drop_collection(name)
    _said(as_json, {"dropped": name}, f"dropped {name}")


def _described(each: CollectionSummary | CollectionInfo) -> dict[str, Any]:
    return {
        "name": each.name,
        "id": each.id,
        "state": each.state,
        "dim": each.spec.dim,
        "metric": str(each.spec.metric),
        "shards": each.spec.shards,
        "replicas": each.spec.replicas,
        "index": str(each.spec.index),
    }


def _said(as_json: bool, document: dict[str, Any], text: str) -> None:
    if as_json:
        output.document(document)
    else:
        output.line(text)
