"""The commands `shoal key ...`: API keys of a cluster whose routers ask for them."""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of, who_asks
from shoal.cli.durations import duration
from shoal.core.api_keys import ID_DIGITS, SECRET_BYTES, KeyInfo, id_of, key_text
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown
from shoal.runtime.key_file import write_key_file

app = typer.Typer(help="Make, list and revoke the API keys of a cluster.", rich_markup_mode=None)

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|min|h|d)")
_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}

_COLUMNS = ("id", "name", "scopes", "made", "expires", "limits")


@app.command()
def new(file: Annotated[str, typer.Argument(metavar="FILE", help="File to write, mode 0600; it must not exist.")]) -> None:
    """Write a new key into a file, for admin_key_file of the routers: it may do everything and makes the first keys."""
    text = key_text(secrets.token_hex(ID_DIGITS // 2), secrets.token_bytes(SECRET_BYTES))
    write_key_file(file, text, "FILE")
    output.line(f"wrote the key {id_of(text)} to {file}; give the routers admin_key_file = {file!r}, and commands --api-key-file {file}")


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for people.")],
    *,
    scope: Annotated[list[str], typer.Option("--scope", metavar="PATTERN:VERBS", help="What it may do: 'docs-*:read,write'; repeat it.")],
    expires: Annotated[str | None, typer.Option("--expires", metavar="TIME", help="When it ends: 90d, 12h, 30min, 10s. Never.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", metavar="N", help="Most calls a second at each router.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", metavar="N", help="Most calls at once; those of a second.")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", metavar="N", help="Most calls that run at each router.")] = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: nobody can show it again."""
    lifetime_s = None if expires is None else seconds_of(expires)
    with client_of(ctx, address, timeout) as client:
        made = client.keys.create(name, scope, expires=lifetime_s, rate=rate, burst=burst, concurrency=concurrency, asked_by=who_asks())
    if as_json:
        output.document({**key_document(made.key), "text": made.text})
    else:
        output.line(made.text)
        output.note(f"made the key {made.key.id} ({made.key.name}); it is not shown again")


@app.command("list")
def list_all(ctx: typer.Context, address: AddressOption = None, timeout: TimeoutOption = None, as_json: JsonOption = False) -> None:
    """List the keys, without their texts."""
    with client_of(ctx, address, timeout) as client:
        keys = client.keys.list()
    if as_json:
        output.document([key_document(each) for each in keys])
    else:
        output.table(_COLUMNS, (_row(each, time.time() * 1000) for each in keys))


@app.command()
def revoke(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of the key.")],
    *,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a key: routers refuse it within a second."""
    with client_of(ctx, address, timeout) as client:
        key = client.keys.revoke(id, asked_by=who_asks())
    if as_json:
        output.document(key_document(key))
    else:
        output.line(f"revoked the key {key.id} ({key.name})")


def key_document(key: KeyInfo) -> dict[str, Any]:
    """Return a key as JSON. Times in ms since 1970; 0 for no expiry and no limit."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [str(each) for each in key.scopes],
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "rate_per_s": key.rate_per_s,
        "burst": key.burst,
        "concurrency": key.concurrency,
    }


def seconds_of(text: str) -> float:
    """Return the seconds of a time such as "90d". Raises InvalidArgument."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidArgument(
            f"--expires is {shown(text)}, it must be a number with s, min, h or d, as in 90d", ErrorDetails(field="expires")
        )
    return float(found[1]) * _UNIT_S[found[2]]


def _row(key: KeyInfo, now_ms: float) -> tuple[str, ...]:
    limits = [f"{key.rate_per_s:g}/s"] if key.rate_per_s else []
    limits += [f"{key.concurrency} at once"] if key.concurrency else []
    return key.id, key.name, " ".join(map(str, key.scopes)), _ago(key.created_ms, now_ms), _expires(key, now_ms), ", ".join(limits) or "-"


def _ago(then_ms: float, now_ms: float) -> str:
    return f"{duration(max(0.0, now_ms - then_ms) / 1000)} ago"


def _expires(key: KeyInfo, now_ms: float) -> str:
    if not key.expires_ms:
        return "never"
    left_ms = key.expires_ms - now_ms
    return f"in {duration(left_ms / 1000)}" if left_ms > 0 else f"expired {_ago(key.expires_ms, now_ms)}"
