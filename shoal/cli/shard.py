"""The commands `shoal shard ...`, by which an operator repairs one shard, and `shoal audit`, which lists past
repairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of, who_asks
from shoal.core.recovery import AuditEntry, LogEnd, ReplicaPlace
from shoal.core.replies import ShardRecovery

app = typer.Typer(help="Recover a shard that lost its in-sync replicas.", rich_markup_mode=None)

_CELL_COLUMNS = 1_000


@app.command()
def recover(
    ctx: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="COLLECTION/N", help="The shard, as `shoal status` names it.")],
    *,
    worker: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Choose the replica of this worker (its id, or the beginning of it), not the longest log."),
    ] = None,
    accept_data_loss: Annotated[
        bool, typer.Option("--accept-data-loss", help="Do it: writes that only the lost replicas held are gone for good.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit.")] = "",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up the lost replicas of a shard and continue with the data of another one; without --accept-data-loss, only
    show what would be done.
    """
    collection, number = _named(shard)
    with client_of(ctx, address, timeout) as client:
        believed = None if worker is None else _whole_id(worker, (each.id for each in client.cluster().workers))
        answer = client.recover_shard(
            collection, number, worker=believed, accept_data_loss=accept_data_loss, reason=reason, asked_by=who_asks()
        )
    if as_json:
        output.document({"shard": shard, "done": answer.done, **_documented(answer)})
        return
    recovery = answer.recovery
    output.table(("replica", "worker", "was", "log ends at", "becomes"), _rows(recovery.chosen, recovery.given_up))
    output.line("")
    output.line(_verdict(shard, answer))


def audit(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many entries.")] = 100,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what operators did to shards, plans and workers, newest first."""
    with client_of(ctx, address, timeout) as client:
        entries = client.audit(limit)
    if as_json:
        output.document([_audited(each) for each in entries])
        return
    output.table(
        ("time", "action", "of", "term", "chosen worker", "given up workers", "asked by", "reason"),
        map(_row, entries),
        cell_columns=_CELL_COLUMNS,
    )


def _named(shard: str) -> tuple[str, int]:
    collection, slash, number = shard.rpartition("/")
    if not slash or not collection or not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{shard!r} names no shard, as in fashion/0")
    return collection, int(number)


def _whole_id(worker: str, ids: Iterable[str]) -> str:
    """Return the id of the worker that begins with the given text.

    Return the text itself when no known worker matches: the coordinator may know more workers. Raises BadParameter when
    several workers match.
    """
    meant = sorted(each for each in ids if each.startswith(worker))
    if worker in meant or not meant:
        return worker
    if len(meant) > 1:
        raise typer.BadParameter(f"{worker!r} may be any of {', '.join(meant)}", param_hint="--worker")
    return meant[0]


def _rows(chosen: ReplicaPlace, given_up: Sequence[ReplicaPlace]) -> list[tuple[str, str, str, str, str]]:
    rows = [(chosen, "the primary"), *((each, "given up") for each in given_up)]
    return [(place.replica, place.worker, place.role, _end(place.end), fate) for place, fate in rows]


def _end(end: LogEnd | None) -> str:
    return "unknown" if end is None else f"term {end.term}, seq {end.seq}"


def _verdict(shard: str, answer: ShardRecovery) -> str:
    recovery = answer.recovery
    if answer.done:
        return (
            f"shard {shard} goes on in term {recovery.term} with the data of worker {recovery.chosen.worker}; `shoal audit` has the record"
        )
    return (
        f"nothing was changed. With --accept-data-loss, shard {shard} goes on with the data of worker {recovery.chosen.worker}, and every "
        "acknowledged write that only the others have is lost for good"
    )


def _documented(answer: ShardRecovery) -> dict[str, Any]:
    recovery = dataclasses.asdict(answer.recovery)
    return {name: recovery[name] for name in ("term", "chosen", "given_up")}


def _audited(entry: AuditEntry) -> dict[str, Any]:
    document = dataclasses.asdict(entry)
    if entry.recovery is not None:
        document["recovery"]["shard"] = entry.recovery.shard._asdict()
    return document


def _row(entry: AuditEntry) -> tuple[Any, ...]:
    recovery = entry.recovery
    moment = datetime.fromtimestamp(entry.time_ms / 1000, UTC)
    return (
        f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        entry.action,
        entry.subject if recovery is None else f"{entry.collection}/{recovery.shard.number}",
        None if recovery is None else recovery.term,
        "" if recovery is None else recovery.chosen.worker,
        "" if recovery is None else " ".join(each.worker for each in recovery.given_up),
        entry.asked_by,
        entry.reason,
    )
