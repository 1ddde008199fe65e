"""The commands `shoal rebalance ...`: spread the data of the cluster over its workers.

Exit codes beside the usual ones: 3: `plan --check` found something to do; 4: the cluster has changed since the plan was
made; 5: a plan ended with items that did not happen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import output, plan_screen
from shoal.cli.connection import AddressOption, JsonOption, LeftRunning, TimeoutOption, YesOption, client_of, who_asks
from shoal.cli.durations import duration, percent
from shoal.cli.plan_file import document_of, read_plan, write_plan
from shoal.cli.progress_screen import UNDONE, ProgressScreen, control_words, progress_document, verdict
from shoal.cli.size import bytes_of
from shoal.client.client import Client
from shoal.core.errors import PreconditionFailed
from shoal.core.operations import PLAN_IS_STALE, PlanSummary, RebalanceProgress
from shoal.core.rebalance import BalanceSettings, RebalancePlan
from shoal.core.shown import shown

app = typer.Typer(help="Spread the data over the workers: plan moves, apply and watch them.", rich_markup_mode=None)

SOMETHING_TO_DO = 3
STALE_PLAN = 4
PARTLY_DONE = 5

_PLAN_ID = re.compile(r"[0-9a-f]{6,64}")
_CELL_COLUMNS = 1_000

WatchJsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON document for each change, one a line.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Return once the plan has begun.")]


@app.command()
def plan(
    ctx: typer.Context,
    *,
    file: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the plan into this file as well.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 3 if there is something to do.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which moves would even out the cluster; nothing is changed."""
    with client_of(ctx, address, timeout) as client:
        made = client.rebalance.plan()
    if file is not None:
        write_plan(file, made)
    if as_json:
        output.document(document_of(made))
    else:
        _show(made, None if file is None else str(file))
    if check and not made.empty:
        raise typer.Exit(SOMETHING_TO_DO)


@app.command()
def apply(
    ctx: typer.Context,
    which: Annotated[
        str | None, typer.Argument(metavar="[PLAN_ID | FILE]", help="A plan of before; without it, a new one is made.", show_default=False)
    ] = None,
    *,
    yes: YesOption = False,
    no_wait: NoWaitOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: WatchJsonOption = False,
) -> None:
    """Carry out a plan and show how far it is; it goes on without this command. Without a plan, make one, show it and
    ask.
    """
    chosen = _named(which) if which is not None else None
    with client_of(ctx, address, timeout) as client:
        made = client.rebalance.plan() if chosen is None else chosen
        if isinstance(made, RebalancePlan) and not _is_worth_asking(made, as_json, shown_before=which is not None):
            return
        amount = plan_screen.amount_of(made) if isinstance(made, RebalancePlan) else f"plan {made}"
        _ask(yes, f"apply {amount}?", "nothing was applied")
        _begin_and_follow(client, lambda: client.rebalance.apply(made, asked_by=who_asks()), as_json, no_wait)


@app.command()
def undo(
    ctx: typer.Context,
    *,
    yes: YesOption = False,
    no_wait: NoWaitOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: WatchJsonOption = False,
) -> None:
    """Take back what the last plan did, as far as nothing has changed since then; asks first, unless --yes."""
    with client_of(ctx, address, timeout) as client:
        made = client.rebalance.plan(undo="last")
        if not _is_worth_asking(made, as_json):
            return
        _ask(yes, f"undo {plan_screen.amount_of(made)}?", "nothing was undone")
        _begin_and_follow(client, lambda: client.rebalance.apply(made, asked_by=who_asks()), as_json, no_wait)


@app.command()
def watch(
    ctx: typer.Context,
    *,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: WatchJsonOption = False,
) -> None:
    """Show how far the plan is that runs, until it ends; if none runs, what became of the last one."""
    with client_of(ctx, address, timeout) as client:
        _follow(client, "", as_json)


@app.command()
def pause(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """Begin no further item of the plan that runs; what is under way ends."""
    with client_of(ctx, address, timeout) as client:
        _told(client.rebalance.pause(asked_by=who_asks()), as_json)


@app.command()
def resume(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """Go on with a plan that was paused."""
    with client_of(ctx, address, timeout) as client:
        _told(client.rebalance.resume(asked_by=who_asks()), as_json)


@app.command()
def cancel(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """End the plan that runs: what is under way is given up, or finished where this is less work."""
    with client_of(ctx, address, timeout) as client:
        _told(client.rebalance.cancel(asked_by=who_asks()), as_json)


@app.command("set")
def set_settings(
    ctx: typer.Context,
    *,
    rate: Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes that moves read from one worker in a second, as 100MiB.")] = None,
    at_once: Annotated[int | None, typer.Option(metavar="N", help="Moves under way at a time in the cluster.")] = None,
    tolerance: Annotated[str | None, typer.Option(metavar="SHARE", help="How far a worker may be off, as in 5%.")] = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change how fast plans run and how even they make the cluster; it holds for the plan that runs, too."""
    if rate is None and at_once is None and tolerance is None:
        raise typer.BadParameter("give --rate, --at-once or --tolerance")
    wanted: dict[str, Any] = {
        "move_bytes_per_s": None if rate is None else bytes_of(rate, "--rate"),
        "moves_at_once": at_once,
        "tolerance": None if tolerance is None else _share(tolerance),
    }
    with client_of(ctx, address, timeout) as client:
        _settings(client.rebalance.set(**wanted, asked_by=who_asks()), as_json)


class AutoWord(StrEnum):
    """What to do with automatic balancing."""

    ON = "on"
    OFF = "off"
    SHOW = "show"


@app.command()
def auto(
    ctx: typer.Context,
    word: Annotated[AutoWord, typer.Argument(metavar="on | off | show", help="Whether plans are made and applied by themselves.")],
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the cluster make and apply plans by itself, or not; `show` tells the settings."""
    with client_of(ctx, address, timeout) as client:
        if word is AutoWord.SHOW:
            _settings(client.rebalance.set(), as_json)
        else:
            _settings(client.rebalance.set(auto=word is AutoWord.ON, asked_by=who_asks()), as_json)


@app.command()
def history(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many plans.")] = 20,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the plans that were applied, newest first."""
    with client_of(ctx, address, timeout) as client:
        plans = client.rebalance.history(limit)
    if as_json:
        output.document([_summary_document(each) for each in plans])
        return
    columns = ("plan", "what", "of", "state", "done", "failed", "skipped", "on disk", "began", "took", "asked by")
    output.table(columns, map(_summary_row, plans), cell_columns=_CELL_COLUMNS)


def _named(which: str) -> RebalancePlan | str:
    """Return the id of a plan, or the plan in a file of this name. Raises InvalidArgument for a bad file."""
    return which if _PLAN_ID.fullmatch(which) else read_plan(Path(which))


def _show(made: RebalancePlan, file: str | None) -> None:
    names = plan_screen.names_of(made)
    if made.empty:
        output.line(plan_screen.nothing_to_do(made, names))
        for line in plan_screen.stays(made, names):
            output.line(line)
        return
    output.line(plan_screen.headline(made, names))
    for columns, rows in (
        (plan_screen.WORKER_COLUMNS, plan_screen.worker_rows(made, names)),
        (plan_screen.MOVE_COLUMNS, plan_screen.move_rows(made, names)),
    ):
        if rows:
            output.line("")
            output.table(columns, rows)
    output.line("")
    for line in (*plan_screen.remarks(made, names), plan_screen.how_to_apply(made, file)):
        output.line(line)


def _is_worth_asking(made: RebalancePlan, as_json: bool, *, shown_before: bool = False) -> bool:
    """Show a plan, unless the user has seen it or a program reads the output, and return whether it does anything."""
    if made.empty and as_json:
        output.document(document_of(made))
    elif made.empty or not (as_json or shown_before):
        _show(made, None)
    return not made.empty


def _ask(yes: bool, question: str, otherwise: str) -> None:
    if not yes and not output.sure(question):
        output.error(otherwise, "answer y, or pass --yes")
        raise typer.Exit(1)


def _begin_and_follow(client: Client, begin: Callable[[], RebalanceProgress], as_json: bool, no_wait: bool) -> None:
    try:
        progress = begin()
    except PreconditionFailed as error:
        if error.details.field != PLAN_IS_STALE:
            raise
        output.error(error.message, "make a new one with `shoal rebalance plan`")
        raise typer.Exit(STALE_PLAN) from None
    plan_id = progress.entry.plan.id
    if not no_wait:
        output.note(f"started, plan {plan_id}; it goes on without this terminal")
        _follow(client, plan_id, as_json)
    elif as_json:
        output.document(progress_document(progress))
    else:
        output.line(f"started, plan {plan_id}; `shoal rebalance watch` shows how far it is")


def _follow(client: Client, plan_id: str, as_json: bool) -> None:
    """Show how far a plan is until it ends. Exits with PARTLY_DONE if a part of it did not happen."""
    try:
        last = _documents(client, plan_id) if as_json else _lines(client, plan_id)
    except KeyboardInterrupt:
        raise LeftRunning("the plan goes on", "`shoal rebalance watch` shows it again, `shoal rebalance cancel` ends it") from None
    if any(each.state in UNDONE for each in last.items):
        raise typer.Exit(PARTLY_DONE)


def _documents(client: Client, plan_id: str) -> RebalanceProgress:
    for progress in client.rebalance.watch(plan_id):
        output.document(progress_document(progress))
    return progress


def _lines(client: Client, plan_id: str) -> RebalanceProgress:
    screen = None
    with output.following() as tell:
        for progress in client.rebalance.watch(plan_id):
            screen = screen or ProgressScreen.of(progress)
            if not progress.over or screen.began:
                tell(screen.now(progress), screen.news(progress))
    for line in (*ProgressScreen.of(progress).undone(progress), verdict(progress)):
        output.line(line)
    return progress


def _told(progress: RebalanceProgress, as_json: bool) -> None:
    if as_json:
        output.document(progress_document(progress))
        return
    for line in control_words(progress):
        output.line(line)


def _share(text: str) -> float:
    """Return a share that is given as 5% or as 0.05. Raises BadParameter."""
    found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*(%)?\s*", text)
    share = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"--tolerance is {shown(text)}, it must be a share above 0 and at most 100 %, such as 5% or 0.05")
    return share


def _settings(settings: BalanceSettings, as_json: bool) -> None:
    if as_json:
        names = ("auto", "tolerance", "moves_at_once", "move_bytes_per_s")
        output.document({name: getattr(settings, name) for name in names})
        return
    automatic = "on: plans are made and applied without an operator" if settings.auto else "off"
    rows = (
        ("automatic balancing", automatic),
        ("a worker may be off by", percent(settings.tolerance)),
        ("moves at once", str(settings.moves_at_once)),
        ("read from one worker", f"{output.size(settings.move_bytes_per_s)}/s"),
    )
    output.table(("what", "value"), rows)


def _summary_document(each: PlanSummary) -> dict[str, Any]:
    return {
        "plan": each.id,
        "kind": each.kind.value,
        "subject": each.subject,
        "state": each.state.value,
        "asked_by": each.asked_by,
        "started_ms": each.started_ms,
        "ended_ms": each.ended_ms,
        "items": each.items,
        "done": each.done,
        "failed": each.failed,
        "skipped": each.skipped,
        "bytes": each.bytes,
    }


def _summary_row(each: PlanSummary) -> tuple[Any, ...]:
    began = datetime.fromtimestamp(each.started_ms / 1000, UTC)
    return (
        each.id,
        each.kind,
        each.subject,
        each.state,
        f"{each.done} of {each.items}",
        each.failed,
        each.skipped,
        output.size(each.bytes),
        f"{began:%Y-%m-%dT%H:%M:%SZ}",
        duration((each.ended_ms - each.started_ms) / 1000) if each.ended_ms else None,
        each.asked_by,
    )
