"""The commands `shoal collection create|list|show|alter|optimize|drop`. Its `tune` and `recall` are in `recall`."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.text_settings import DefaultsOption, TextFieldOption, defaults_in_words, defaults_of, fields_in_words, text_fields_of
from shoal.cli.vector_options import NamedVectorOption, cells_of, indexes_of, named_vectors_of, vectors_document, vectors_in_words
from shoal.client.client import Client
from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError
from shoal.core.fusion_choice import SearchDefaults, defaults_to_input
from shoal.core.health import ShardCondition
from shoal.core.named_vectors import NamedVector
from shoal.core.replies import CollectionInfo, CollectionSummary
from shoal.core.text_fields import options_to_input

app = typer.Typer(help="Create, list, show, alter, tune, optimize and drop collections.", rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]
MetricOption = Annotated[str, typer.Option(help="l2, ip or cosine.")]
ReplicasHelp = "Replicas of each shard, each on a worker of its own."
MinIsrHelp = "Replicas a write must reach before it is acknowledged; 0 is one less than the replicas, at least 1."
ShardsOption = Annotated[int, typer.Option(help="Parts the collection is cut into.")]

_INDEXES = "auto, flat, hnsw, ivf, or a FAISS factory string such as HNSW32 or IVF1024,PQ64."
_RECALL = "Target recall of searches that name none, above 0 and at most 1."

_SHOWN_COLUMNS = 2_000
"""Most columns of one value in `show`. The reasons why builds wait are whole sentences, one for each shard."""

_LOOK_EVERY_S = 1.0
_QUIET_LOOKS = 3
"""Number of looks in a row that must find no pending build. Workers learn of a change a moment after it is decided."""

CREATE_TIMEOUT_S = 600.0
"""Longest time in seconds for the creation of a collection, if no timeout is given."""

_TELL_EVERY_S = 1.0
_LOOK_S = 5.0
"""Longest time in seconds for one look at the shards of a collection in creation."""

_STUCK_S = 3600.0
"""Waiting ends with an error when nothing has changed for this long."""


@app.command()
def create(
    ctx: typer.Context,
    name: NameArgument,
    *,
    dim: Annotated[int | None, typer.Option(help="Length of its vectors.")] = None,
    vector: NamedVectorOption = None,
    metric: MetricOption = "l2",
    shards: ShardsOption = 1,
    replicas: Annotated[int, typer.Option(help=ReplicasHelp)] = 1,
    min_isr: Annotated[int, typer.Option(help=MinIsrHelp)] = 0,
    index: Annotated[str, typer.Option(help=_INDEXES)] = "auto",
    recall: Annotated[float, typer.Option(metavar="R", help=_RECALL)] = 0.95,
    text: TextFieldOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a collection; returns when all its shards serve (600 s at most, unless --timeout says more)."""
    if (dim is None) == (not vector):
        raise typer.BadParameter("give --dim for one vector without a name, or --vector NAME=DIM for each of several")
    fields, vectors = text_fields_of(text), named_vectors_of(vector)
    options: dict[str, Any] = {"index": index, "recall": recall, "min_isr": min_isr, "text": fields or None}
    options |= {"vectors": vectors} if vectors else {"dim": dim}
    with client_of(ctx, address, timeout, CREATE_TIMEOUT_S) as client:
        _created(client, name, lambda: client.create_collection(name, metric=metric, shards=shards, replicas=replicas, **options))
    copies = f", {replicas} replicas" if replicas > 1 else ""
    each = "  ".join(f"{one}={of['dim']},{of.get('metric', metric)},{of.get('index', index)}" for one, of in vectors.items())
    rest = f"{output.counted(shards, 'shard')}{copies}"
    words = f"{each}; {rest}" if vectors else f"dim {dim}, {metric}, {rest}, index {index}"
    words = f"created {name}: {words}, recall {recall:g}"
    _said(as_json, {"created": name}, f"{words}, text {', '.join(sorted(fields))}" if fields else words)


def _created(client: Client, name: str, create: Callable[[], None]) -> None:
    """Create a collection, and tell meanwhile how many of its shards serve."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool, output.watching() as tell:
        creating = pool.submit(create)
        try:
            while not concurrent.futures.wait([creating], _TELL_EVERY_S).done:
                tell(f"{name}: {_shards_that_serve(client, name)}")
            creating.result()
        except BaseException:
            # The thread ends with its call.
            client.close()
            raise


def _shards_that_serve(client: Client, name: str) -> str:
    try:
        shards = [each for each in client.cluster(timeout=_LOOK_S).shards if each.collection == name]
    except ShoalError as error:
        return f"no progress is known: {error.message}"
    if not shards:
        return "waiting for the coordinator"
    return f"{sum(each.state is ShardCondition.OK for each in shards)} of {output.counted(len(shards), 'shard')} serve"


@app.command("list")
def list_all(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """List all collections."""
    with client_of(ctx, address, timeout) as client:
        listed = client.list_collections()
    if as_json:
        output.document([_described(each) for each in listed])
        return
    output.table(
        ("name", "state", "dim", "metric", "shards", "replicas", "index", "recall"),
        map(_row, listed),
    )


@app.command()
def show(
    ctx: typer.Context, name: NameArgument, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False
) -> None:
    """Show a collection: its index and recall, points, rows, segments and sizes, and why builds wait."""
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
        "waiting": info.waiting,
    }
    if as_json:
        output.document(described)
        return
    told = {"bytes": ("on disk", output.size(info.bytes)), "memory_bytes": ("in memory", output.size(info.memory_bytes))}
    told |= {"vectors": ("vectors", vectors_in_words(info.spec))}
    told |= {"text": ("text", fields_in_words(info.spec.text)), "search_defaults": ("searches", defaults_in_words(info.spec.defaults))}
    rows = (told.get(key, (key.replace("_", " "), str(value))) for key, value in described.items())
    output.table(("what", "value"), rows, cell_columns=_SHOWN_COLUMNS)


@app.command()
def alter(
    ctx: typer.Context,
    name: NameArgument,
    *,
    index: Annotated[list[str] | None, typer.Option(help=f"{_INDEXES} Of a named vector: NAME=INDEX, may be repeated.")] = None,
    recall: Annotated[float | None, typer.Option(metavar="R", help=_RECALL)] = None,
    replicas: Annotated[int | None, typer.Option(help=ReplicasHelp)] = None,
    min_isr: Annotated[int | None, typer.Option(help=MinIsrHelp)] = None,
    text: TextFieldOption = None,
    drop_text: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="A text field to drop; may be repeated.")] = None,
    search_defaults: DefaultsOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when no index build is pending and all replicas are in sync.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change index, recall, replicas or text fields of a live collection; writes and searches go on meanwhile."""
    indexes = indexes_of(index)
    if all(each is None for each in (indexes, recall, replicas, min_isr, search_defaults)) and not text and not drop_text:
        raise typer.BadParameter("give --index, --recall, --replicas or --min-isr, or --text, --drop-text or --search-defaults")
    fields, defaults = text_fields_of(text), defaults_of(search_defaults)
    with client_of(ctx, address, timeout) as client:
        changed = _changed_fields(client.describe_collection(name).spec, fields, drop_text or ()) if text or drop_text else None
        searching: dict[str, Any] = {"text": changed, "search_defaults": defaults}
        client.alter_collection(name, index=indexes, recall=recall, replicas=replicas, min_isr=min_isr, **searching)
        if wait and (replicas is not None or min_isr is not None):
            _replicas_done(client, name, client.describe_collection(name).spec.replicas)
        info = _builds_done(client, name) if wait else client.describe_collection(name)
    spec = info.spec
    told = {each.name: each.index for each in spec.vectors} or spec.index
    altered = {"altered": name, "index": told, "recall": spec.recall, "replicas": spec.replicas, "min_isr": spec.min_isr}
    copies = f", {spec.replicas} replicas, writes reach {spec.min_isr}" if spec.replicas > 1 or replicas is not None else ""
    texts = f", text {', '.join(each.name for each in spec.text) or 'none'}" if changed is not None else ""
    texts += f", searches {defaults_in_words(spec.defaults)}" if defaults is not None else ""
    words = f"altered {name}: index {cells_of(spec)[2]}, recall {spec.recall:g}{copies}{texts}{_pending(info)}"
    altered |= _searching_document(spec) if changed is not None or defaults is not None else {}
    _said(as_json, altered | {"builds_pending": info.builds_pending, "waiting": info.waiting}, words)


def vectors_of_collection(client: Client, name: str, *, may_be_missing: bool = False) -> tuple[NamedVector, ...] | None:
    """Return the named vectors of a collection, empty for one vector without a name; None if the collection is missing
    and may be. No worker is asked. Raises NotFound.
    """
    for each in client.list_collections():
        if each.name == name:
            return each.spec.vectors
    return None if may_be_missing else client.describe_collection(name).spec.vectors


def _changed_fields(spec: CollectionSpec, added: Mapping[str, Any], dropped: Iterable[str]) -> dict[str, Any]:
    """Return all text fields after a change. Raises InvalidArgument for one to drop that is not there."""
    fields: dict[str, Any] = {**{each.name: each.analyzer for each in spec.text}, **added}
    for name in dropped:
        if name in added or name not in fields:
            there = ", ".join(each.name for each in spec.text) or "none"
            why = "is given by --text, too" if name in added else f"is no text field, there are {there}"
            raise InvalidArgument(f"--drop-text {name!r} {why}", ErrorDetails(field="text"))
        del fields[name]
    return fields


def _builds_done(client: Client, name: str) -> CollectionInfo:
    """Wait until the collection has no pending build, and return its description.

    Raises DeadlineExceeded when nothing changes for _STUCK_S seconds.
    """
    quiet, info = 0, client.describe_collection(name)

    def look() -> _Waited:
        nonlocal quiet, info
        info = client.describe_collection(name)
        quiet = quiet + 1 if info.builds_pending == 0 else 0
        words = f"{output.counted(info.builds_pending, 'build')} pending{_because(info)}"
        return _Waited(done=quiet >= _QUIET_LOOKS, progress=(info.builds_pending, info.sealed_rows), words=words)

    _wait(name, look)
    return info


def _replicas_done(client: Client, name: str, replicas: int) -> None:
    """Wait until each shard has exactly `replicas` replicas in sync and no learners. Raises as _builds_done does."""

    def look() -> _Waited:
        shards = [each for each in client.cluster().shards if each.collection == name]
        in_sync = sum(min(len(each.isr), replicas) for each in shards)
        settled = bool(shards) and all(len(each.isr) == replicas and not each.learners for each in shards)
        words = f"{in_sync} of {output.counted(len(shards) * replicas, 'replica')} in sync"
        return _Waited(done=settled, progress=(in_sync, sum(len(each.isr) + len(each.learners) for each in shards)), words=words)

    _wait(name, look)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waited:
    """How far a change has come. progress: a value that differs from the last one as long as the work goes on."""

    done: bool
    progress: tuple[int, int]
    words: str


def _wait(name: str, look: Callable[[], _Waited]) -> None:
    before, since_s = look(), time.monotonic()
    seen = before
    with output.watching() as tell:
        while not seen.done:
            if seen.progress != before.progress:
                before, since_s = seen, time.monotonic()
            if time.monotonic() - since_s > _STUCK_S:
                raise DeadlineExceeded(f"nothing changed for {_STUCK_S:.0f} s; {seen.words}")
            tell(f"{name}: {seen.words}")
            time.sleep(_LOOK_EVERY_S)
            seen = look()


def _pending(info: CollectionInfo) -> str:
    pending = f"; {output.counted(info.builds_pending, 'build')} pending" if info.builds_pending else ""
    return f"{pending}{_because(info)}"


def _because(info: CollectionInfo) -> str:
    return f" (waiting: {info.waiting})" if info.waiting else ""


@app.command()
def optimize(
    ctx: typer.Context, name: NameArgument, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False
) -> None:
    """Seal and merge everything now; returns when no index build is pending (600 s at most, unless --timeout says
    more).
    """
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
    vectors = vectors_document(each.spec)
    return {
        "name": each.name,
        "id": each.id,
        "state": each.state,
        **{key: value for key, value in vectors.items() if key != "index"},
        "shards": each.spec.shards,
        "replicas": each.spec.replicas,
        "min_isr": each.spec.min_isr,
        **{key: value for key, value in vectors.items() if key == "index"},
        "recall": each.spec.recall,
    } | (_searching_document(each.spec) if each.spec.text or each.spec.defaults != SearchDefaults() else {})


def _searching_document(spec: CollectionSpec) -> dict[str, Any]:
    fields = {each.name: options_to_input(each.analyzer) for each in spec.text}
    return {"text": fields, "search_defaults": defaults_to_input(spec.defaults)}


def _row(each: CollectionSummary) -> tuple[Any, ...]:
    dim, metric, index = cells_of(each.spec)
    return each.name, each.state, dim, metric, each.spec.shards, each.spec.replicas, index, each.spec.recall


def _said(as_json: bool, document: dict[str, Any], text: str) -> None:
    if as_json:
        output.document(document)
    else:
        output.line(text)
