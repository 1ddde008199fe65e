"""The commands `shoal profile`: named values of the global options."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import JsonOption
from shoal.cli.profile_file import KEYS, Profile, check_name, one_profile, path_of_profiles, profile_of, read_profiles, write_profiles

app = typer.Typer(help="Keep addresses and other options under names: `shoal --profile NAME ...`.", no_args_is_help=True)

ProfileArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List all profiles."""
    profiles = read_profiles(path_of_profiles())
    if as_json:
        output.document({name: each.values() for name, each in profiles.items()})
    elif profiles:
        output.table(["name", *KEYS], [[name, *_cells(each)] for name, each in profiles.items()])
    else:
        output.line(f"no profiles in {path_of_profiles()}; `shoal profile set NAME --address HOST:PORT` makes one")


@app.command("show")
def show(name: ProfileArgument, as_json: JsonOption = False) -> None:
    """Show one profile."""
    values = one_profile(path_of_profiles(), name).values()
    if as_json:
        output.document(values)
    else:
        output.table(["option", "value"], [[key, str(value)] for key, value in values.items()])


@app.command("set")
def set_one(
    name: ProfileArgument,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Router; several with commas between.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="For each call, retries included.")] = None,
    transport: Annotated[str | None, typer.Option(metavar="NAME", help="auto, http or grpc.")] = None,
    tls_ca: Annotated[str | None, typer.Option(metavar="FILE", help="CA that signed the routers' certificate.")] = None,
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="Own certificate.")] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Key of the own certificate.")] = None,
) -> None:
    """Make a profile, or change the options that are given; the others stay."""
    path = path_of_profiles()
    profiles = read_profiles(path)
    before = profiles.get(check_name(name), Profile()).values()
    given: dict[str, Any] = {"address": address, "timeout": timeout, "transport": transport}
    given |= {name: _absolute(path) for name, path in (("tls_ca", tls_ca), ("tls_cert", tls_cert), ("tls_key", tls_key))}
    changed = {key: value for key, value in given.items() if value is not None}
    if not changed:
        raise typer.BadParameter("there is nothing to set: give --address, --timeout, --transport, --tls-ca, --tls-cert or --tls-key")
    write_profiles(path, {**profiles, name: profile_of({**before, **changed}, f"profile {name}")})
    output.line(f"profile {name} is in {path}")


@app.command("remove")
def remove(name: ProfileArgument) -> None:
    """Remove a profile."""
    path = path_of_profiles()
    one_profile(path, name)
    write_profiles(path, {other: each for other, each in read_profiles(path).items() if other != name})
    output.line(f"profile {name} is removed from {path}")


def _cells(profile: Profile) -> list[str]:
    values = profile.values()
    return [str(values.get(key, "")) for key in KEYS]


def _absolute(path: str | None) -> str | None:
    """Return a path that means the same in each folder."""
    return os.path.abspath(path) if path else path
