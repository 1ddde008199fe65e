"""The commands `shoal profile`: named values of the global options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.connection import JsonOption
from shoal.cli.profile_file import Profile, check_name, one_profile, path_of_profiles, profile_of, read_profiles, write_profiles

app = typer.Typer(help="Keep addresses and other options under names: `shoal --profile NAME ...`.", no_args_is_help=True)

ProfileArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List all profiles."""
    profiles = read_profiles(path_of_profiles())
    if as_json:
        output.document({name: each.values() for name, each in profiles.items()})
    elif profiles:
        output.table(["name", "address", "timeout", "transport"], [[name, *_cells(each)] for name, each in profiles.items()])
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
) -> None:
    """Make a profile, or change the options that are given; the others stay."""
    path = path_of_profiles()
    profiles = read_profiles(path)
    before = profiles.get(check_name(name), Profile()).values()
    given: dict[str, Any] = {"address": address, "timeout": timeout, "transport": transport}
    changed = {key: value for key, value in given.items() if value is not None}
    if not changed:
        raise typer.BadParameter("there is nothing to set: give --address, --timeout or --transport")
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
    return [str(values.get(key, "")) for key in ("address", "timeout", "transport")]
