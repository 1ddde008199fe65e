"""The commands `shoal cert init` and `shoal cert show`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import JsonOption
from shoal.core.errors import NotInstalled

if TYPE_CHECKING:
    from shoal.cli.certificate_maker import CertificateFacts

_MOST_DAYS = 3_650

app = typer.Typer(help="Make certificates for a cluster, and see when they expire.", no_args_is_help=True)


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; or, with --renew, that was made before.")],
    host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name or address by which clients reach a router; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(metavar="N", help="Days for which certificates are valid.", min=1, max=_MOST_DAYS)] = 365,
    renew: Annotated[bool, typer.Option("--renew", help="Replace all certificates in DIR but the CA.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a CA with certificates for routers, for what lies behind them, and for clients."""
    maker, folders = _rooms()
    hosts, now = [maker.checked_host(each) for each in host or ()], _now()
    (folders.renew_leaves if renew else folders.make_folder)(folder, hosts, now, days)
    found = folders.certificates_in(folder)
    if as_json:
        output.document(_document(found, now))
        return
    _show(found, now)
    output.line("")
    for line in _RENEWED if renew else _next_steps(folder.absolute(), [*hosts, "localhost"][0]):
        output.line(line)


@app.command("show")
def show(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Folder of `shoal cert init`, or one file in the form PEM.")],
    as_json: JsonOption = False,
) -> None:
    """Show the names, serial numbers and expiry of certificates."""
    _, folders = _rooms()
    found, now = folders.certificates_in(path), _now()
    if as_json:
        output.document(_document(found, now))
        return
    _show(found, now)


def _now() -> datetime:
    """Return the time in whole seconds, as certificates know it."""
    return datetime.now(UTC).replace(microsecond=0)


def _rooms() -> tuple[ModuleType, ModuleType]:
    """Return the modules that make and keep certificates. Raises NotInstalled without the package cryptography."""
    try:
        from shoal.cli import certificate_folder, certificate_maker
    except ImportError:
        raise NotInstalled("`shoal cert` needs cryptography, which is not installed: pip install 'shoal[certificates]'") from None
    return certificate_maker, certificate_folder


def _show(found: Sequence[tuple[Path, CertificateFacts]], now: datetime) -> None:
    output.table(
        ("file", "names", "serial", "expires", "days left"),
        (
            (file.name, ", ".join(each.names), each.serial, f"{each.not_after:%Y-%m-%d %H:%M} UTC", _left(each.days_left(now)))
            for file, each in found
        ),
    )


def _left(days: int) -> str:
    return str(days) if days > 0 else "expired"


def _document(found: Sequence[tuple[Path, CertificateFacts]], now: datetime) -> dict[str, Any]:
    return {
        "certificates": [
            {
                "file": str(file),
                "names": list(each.names),
                "serial": each.serial,
                "not_after": each.not_after.isoformat(),
                "days_left": each.days_left(now),
                "is_ca": each.is_ca,
            }
            for file, each in found
        ]
    }


_RENEWED = (
    "Copy the new files over the old ones, the key of each certificate first. Running roles and clients take them",
    "within seconds and need no restart.",
)


def _next_steps(folder: Path, host: str) -> list[str]:
    """Return what to do with the files, as lines. host: by which a client reaches a router."""

    def settings(name: str) -> list[str]:
        return [f'  tls_ca = "{folder}/ca.pem"', f'  tls_cert = "{folder}/{name}.pem"', f'  tls_key = "{folder}/{name}.key"']

    place = f"[{host}]" if ":" in host else host
    return [
        "settings of routers, and of `shoal up`:",
        *settings("router"),
        "settings of workers and coordinators:",
        *settings("internal"),
        "clients:",
        f'  shoal.connect("{place}:7600", tls_ca="{folder}/ca.pem", tls_cert="{folder}/client.pem", tls_key="{folder}/client.key")',
        f"  shoal --address {place}:7600 --tls-ca {folder}/ca.pem --tls-cert {folder}/client.pem --tls-key {folder}/client.key status",
        "Give each machine the files that it names and no others. Keep ca.key away from all of them: whoever has it can",
        "make any certificate. It is needed again for `shoal cert init DIR --renew`.",
    ]
