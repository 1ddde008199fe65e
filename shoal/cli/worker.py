"""The commands `shoal worker ...`: the workers of the cluster, and how one is taken out of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import AddressOption, JsonOption, LeftRunning, TimeoutOption, YesOption, client_of, who_asks
from shoal.cli.durations import duration
from shoal.cli.progress_screen import ProgressScreen
from shoal.cli.status_notes import drain_words, replaced_words
from shoal.cli.worker_names import WorkerNames
from shoal.client.client import Client
from shoal.client.operation_verbs import is_drained
from shoal.core.errors import NotFound, PreconditionFailed
from shoal.core.health import WorkerCondition
from shoal.core.operations import RebalanceProgress, WorkerStanding

app = typer.Typer(help="List workers, drain one before it is switched off, forget one that will not return.", rich_markup_mode=None)

WorkerArgument = Annotated[str, typer.Argument(metavar="ID", help="The worker: its id, or the beginning of it.")]

PARTLY_DONE = 5
_LOOK_EVERY_S = 0.5
_STUCK_S = 900.0
"""Waiting ends with an error when nothing has changed for this long, in seconds."""

_COLUMNS = ("worker", "state", "zone", "replicas", "primaries", "memory", "disk", "since")


@app.command("list")
def list_all(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """List the workers, live or not: what each holds, and what is to become of it."""
    with client_of(ctx, address, timeout) as client:
        workers = client.workers.list()
    if as_json:
        output.document([standing_document(each) for each in workers])
        return
    names = WorkerNames(each.worker for each in workers)
    output.table(_COLUMNS, (_row(each, names, time.time() * 1000) for each in workers))


@app.command()
def drain(
    ctx: typer.Context,
    worker: WorkerArgument,
    *,
    primaries: Annotated[bool, typer.Option("--primaries", help="Only let it lead nothing; it keeps its replicas.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it is being drained.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move everything away from a worker, so that it can be switched off; returns when it holds nothing.

    Ctrl-C leaves it draining.
    """
    with client_of(ctx, address, timeout) as client:
        began = time.monotonic()
        standing = client.workers.drain(worker, primaries, wait=False, asked_by=who_asks())
        name = _name(client, standing.worker)
        if not no_wait:
            try:
                standing = _Drain(client, standing, began).settled()
            except KeyboardInterrupt:
                said = f"`shoal worker list` shows how far it is, `shoal worker undrain {name}` ends it"
                raise LeftRunning(f"worker {name} goes on to be drained", said) from None
    if as_json:
        output.document(standing_document(standing))
    else:
        output.line(_drained_words(standing, name))


@app.command()
def undrain(
    ctx: typer.Context,
    worker: WorkerArgument,
    *,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a worker hold replicas and lead shards again."""
    with client_of(ctx, address, timeout) as client:
        standing = client.workers.undrain(worker, asked_by=who_asks())
        name = _name(client, standing.worker)
    if as_json:
        output.document(standing_document(standing))
        return
    holds = output.counted(standing.replicas, "replica")
    output.line(f"worker {name} is not drained any more, it holds {holds}; `shoal rebalance plan` shows what to move to it")


@app.command()
def forget(
    ctx: typer.Context,
    worker: WorkerArgument,
    *,
    yes: YesOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the replicas of a worker that will not return, now; asks first, unless --yes."""
    with client_of(ctx, address, timeout) as client:
        found = client.workers.forget(worker)
        name = _name(client, found.worker)
        replicas = "replica is" if found.copies == 1 else "replicas are"
        if not found.done and not yes:
            output.note(
                f"worker {name} is down for {duration(found.down_s)}. Its {found.copies} {replicas} replaced at once, and it is "
                "refused if it comes back."
            )
            if not output.sure("forget it?"):
                output.error(f"worker {name} was not forgotten", "answer y, or pass --yes")
                raise typer.Exit(1)
        if not found.done:
            found = client.workers.forget(found.worker, confirm=True, asked_by=who_asks())
    if as_json:
        output.document({"forgotten": found.worker, "down_s": found.down_s, "replicas": found.copies})
        return
    output.line(f"worker {name} is forgotten; its {found.copies} {replicas} replaced, `shoal status` shows how far that is")


def _name(client: Client, worker: str) -> str:
    return WorkerNames([worker, *(each.worker for each in client.workers.list())])[worker]


class _Drain:
    """Waits until a worker is drained, and shows meanwhile what leaves it. began: when it was asked for."""

    def __init__(self, client: Client, standing: WorkerStanding, began: float) -> None:
        self._client, self._standing, self._began = client, standing, began
        self._primaries, self._replicas = standing.primaries, standing.replicas
        self._screens: dict[str, ProgressScreen] = {}

    def settled(self) -> WorkerStanding:
        """Return the worker once it is drained. Exits with PARTLY_DONE if nothing changes for long."""
        seen, since, leads = None, time.monotonic(), bool(self._primaries)
        with output.following() as tell:
            while True:
                progress = self._progress()
                if leads and not self._standing.primaries:
                    leads = False
                    output.note(f"primaries handed over: {self._primaries} in {duration(time.monotonic() - self._began)}")
                tell(*self._lines(progress))
                if is_drained(self._standing):
                    return self._standing
                now = (self._standing, None if progress is None else progress.items)
                seen, since = (seen, since) if now == seen else (now, time.monotonic())
                if time.monotonic() - since > _STUCK_S:
                    break
                time.sleep(_LOOK_EVERY_S)
                self._standing = self._look()
        holds, leads_now = output.counted(self._standing.replicas, "replica"), output.counted(self._standing.primaries, "shard")
        said = f"nothing changed for {duration(_STUCK_S)}: it holds {holds} and leads {leads_now}; it goes on to be drained"
        output.error(f"worker {self._standing.worker} is not drained, {said}", "`shoal rebalance watch` shows why")
        raise typer.Exit(PARTLY_DONE)

    def _look(self) -> WorkerStanding:
        """Return the worker as it is now. One that is not listed any more has ended, and holds nothing."""
        worker = self._standing.worker
        now = next((each for each in self._client.workers.list() if each.worker == worker), None)
        if now is None:
            return dataclasses.replace(self._standing, replicas=0, primaries=0, left=0)
        if now.drain is None:
            raise PreconditionFailed(f"worker {worker} is not drained any more: somebody has taken it back")
        return now

    def _progress(self) -> RebalanceProgress | None:
        """Return the plan that runs, or ran last, as far as replicas leave this worker; None if there is none."""
        if self._standing.drain is not None and self._standing.drain.primaries_only:
            return None
        try:
            progress = self._client.rebalance.progress()
        except NotFound:
            return None
        plan = progress.entry.plan
        moves = tuple(each for each in plan.moves if each.source == self._standing.worker)
        numbers = {each.number for each in moves}
        return RebalanceProgress(
            entry=dataclasses.replace(progress.entry, plan=dataclasses.replace(plan, moves=moves, hand_overs=())),
            items=tuple(each for each in progress.items if each.number in numbers),
        )

    def _lines(self, progress: RebalanceProgress | None) -> tuple[list[str], list[str]]:
        """Return what a terminal shows now, and what is new."""
        left = f"{self._standing.replicas} of {output.counted(self._replicas, 'replica')} left"
        if progress is None:
            return [left], []
        plan_id = progress.entry.plan.id
        screen = self._screens.setdefault(plan_id, ProgressScreen.of(progress))
        under_way = [] if progress.over else screen.now(progress)[1:]
        news = [] if progress.over and not screen.began else screen.news(progress)
        return [left, *under_way], news


def standing_document(each: WorkerStanding) -> dict[str, Any]:
    """Return a worker as a JSON document."""
    drained = each.drain
    return {
        "id": each.worker,
        "state": each.state.value,
        "zone": each.zone,
        "drain": None
        if drained is None
        else {"primaries_only": drained.primaries_only, "asked_by": drained.asked_by, "since_ms": drained.since_ms},
        "replicas": each.replicas,
        "primaries": each.primaries,
        "left": each.left,
        "memory": each.memory_bytes,
        "memory_budget": each.memory_budget_bytes,
        "disk": each.disk_bytes,
        "started_ms": each.started_ms,
        "down_s": each.down_s,
        "replaced_in_s": each.replaced_in_s,
    }


def state_words(each: WorkerStanding) -> str:
    """Return the state of a worker in a word or two: whether it is up, or what its drain does."""
    return drain_words(each) or str(each.state) if each.state is WorkerCondition.UP else str(each.state)


def _row(each: WorkerStanding, names: WorkerNames, now_ms: float) -> tuple[Any, ...]:
    memory = f"{output.size(each.memory_bytes)} / {output.size(each.memory_budget_bytes)}" if each.memory_budget_bytes else None
    known = each.state is WorkerCondition.UP
    return (
        names[each.worker],
        state_words(each),
        each.zone,
        each.replicas,
        each.primaries if known or each.primaries else "-",
        memory or (output.size(each.memory_bytes) if each.memory_bytes else "-"),
        output.size(each.disk_bytes) if each.disk_bytes else "-",
        _since(each, now_ms),
    )


def _since(each: WorkerStanding, now_ms: float) -> str:
    if each.state is WorkerCondition.DOWN:
        waits = f", {replaced_words(each)}" if each.replicas else ""
        return f"down for {duration(each.down_s)}{waits}"
    parts: list[Callable[[], str]] = []
    if each.started_ms:
        parts.append(lambda: duration(max(0.0, now_ms - each.started_ms) / 1000))
    if each.left:
        parts.append(lambda: f"{output.counted(each.left, 'replica')} left")
    return ", ".join(part() for part in parts)


def _drained_words(standing: WorkerStanding, name: str) -> str:
    back = f"`shoal worker undrain {name}` takes it back"
    keeps = standing.drain is not None and standing.drain.primaries_only
    if not is_drained(standing):
        what = f"leads {output.counted(standing.primaries, 'shard')}" if keeps else f"holds {output.counted(standing.replicas, 'replica')}"
        return f"worker {name} is being drained, it {what}; `shoal worker list` shows how far it is"
    if keeps:
        holds = output.counted(standing.replicas, "replica")
        return f"worker {name} leads nothing and keeps its {holds}: it may be restarted. {back}"
    return f"worker {name} holds nothing and leads nothing: it may be switched off. {back}"
