"""The command tree, and how a command ends.

Exit codes: 0 for success, 1 for an error, 2 for wrong usage, 130 after Ctrl-C, 141 when the reader of the output has
closed it; `shoal rebalance` and `shoal worker` have further ones. Each error is one line on stderr: `error: <what>;
<what to do next>`. Only `output` prints.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shoal.cli import (
    certificates,
    collection,
    exporting,
    fit,
    importing,
    key,
    output,
    points,
    profile,
    programs,
    rebalance,
    recall,
    search,
    shard,
    size,
    status,
    updates,
    worker,
)
from shoal.cli.advice import next_step
from shoal.cli.connection import DEFAULT_ADDRESS, DEFAULT_TRANSPORT, Connection, LeftRunning
from shoal.cli.profile_file import Profile, one_profile, path_of_profiles
from shoal.core.errors import ShoalError
from shoal.runtime.key_file import key_from_file

_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
AGAIN = "run it again to go on, nothing is done twice"
"""What to do after Ctrl-C, unless the command says something else."""

_INTERRUPTED = 130
_NO_READER = 141


class _Interrupted(Exception):
    """Ctrl-C as an exception that typer does not handle itself. far: how far the command came, or nothing."""

    def __init__(self, *far: str, next_step: str = AGAIN) -> None:
        super().__init__(*far)
        self.next_step = next_step


class _ReaderLeft(Exception):
    """The reader of the output has closed it, as in `... | head -1`. Typer does not handle this exception itself."""


class OneLineErrors(TyperGroup):
    """The root command. It turns each failure into one line on stderr and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except LeftRunning as error:
            raise _Interrupted(*error.args, next_step=error.next_step) from None
        except KeyboardInterrupt as error:
            raise _Interrupted(*error.args) from None
        except BrokenPipeError:
            raise _ReaderLeft from None

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit. Without words it prints its help."""
        given = args[0] if args else extra.get("args")
        if not (sys.argv[1:] if given is None else given):
            args, extra["args"] = (), ["--help"]
        extra["standalone_mode"] = False
        output.prepare_streams()
        parent = super().main
        sys.exit(exit_code(lambda: parent(*args, **extra)))


def exit_code(run: Callable[[], Any]) -> int:
    """Run a command, print its error if there is one, and return the exit code."""
    try:
        code = run()
    except ShoalError as error:
        output.error(error.message, next_step(error))
        return 1
    except output.OutputLost as error:
        output.error(f"the output cannot be written: {error}", "what the command changed is changed; make room, or write it elsewhere")
        return 1
    except _USAGE_ERROR as error:
        output.error(*_usage(error))
        return 2
    except _Interrupted as error:
        return _interrupted(*error.args, next_step=error.next_step)
    except KeyboardInterrupt as error:
        return _interrupted(*error.args)
    except _ReaderLeft:
        return _NO_READER
    except OSError as error:
        return _refused(error)
    except typer.Abort as error:
        return _interrupted() if isinstance(error.__cause__, KeyboardInterrupt) else 1
    if code == _INTERRUPTED:
        # After Ctrl-C before the command began, typer returns this code and prints nothing.
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted(*far: str, next_step: str = AGAIN) -> int:
    output.error(", ".join(("interrupted", *far)), next_step)
    return _INTERRUPTED


def _refused(error: OSError) -> int:
    """Report an error of the operating system and return the exit code."""
    output.abandon_stdout()
    output.error(f"the system refuses: {error}", "correct that and try again")
    return 1


def _usage(error: Any) -> tuple[str, str]:
    path = error.ctx.command_path if error.ctx is not None else "shoal"
    what = error.format_message().strip().rstrip(".")
    return what[:1].lower() + what[1:], f"try `{path} --help`"


app = typer.Typer(
    name="shoal",
    cls=OneLineErrors,
    help="A distributed vector search cluster: start one, fill it, search it.",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        output.line(f"shoal {installed_version('shoal')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    address: Annotated[
        str, typer.Option(envvar="SHOAL_ADDRESS", metavar="HOST:PORT", help="Router to ask; several with commas between.")
    ] = DEFAULT_ADDRESS,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="For each call, retries included.")] = None,
    transport: Annotated[
        str, typer.Option(envvar="SHOAL_TRANSPORT", metavar="NAME", help="How to reach routers: auto, http or grpc.")
    ] = DEFAULT_TRANSPORT,
    tls_ca: Annotated[
        str | None, typer.Option(envvar="SHOAL_TLS_CA", metavar="FILE", help="CA that signed the routers' certificate: use TLS.")
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(envvar="SHOAL_TLS_CERT", metavar="FILE", help="Own certificate, for routers that ask for one.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(envvar="SHOAL_TLS_KEY", metavar="FILE", help="Key of the own certificate.")] = None,
    api_key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="File, mode 0600, with the API key (or SHOAL_API_KEY, the key itself).")
    ] = None,
    profile_name: Annotated[
        str | None, typer.Option("--profile", envvar="SHOAL_PROFILE", metavar="NAME", help="Use the options of this profile.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)] = False,
) -> None:
    """A distributed vector search cluster: start one, fill it, search it."""
    # A missing profile must not keep `shoal profile` from making it, and the others ask no router.
    is_used = profile_name and ctx.invoked_subcommand not in ("profile", "cert", "up", "size", "fsck")
    usual = one_profile(path_of_profiles(), profile_name) if profile_name and is_used else Profile()
    named_here = _came_from(ctx, "profile_name", "COMMANDLINE")

    def taken(option: str, given: Any, kept: Any) -> Any:
        """Return the value of an option: as given here, else of the profile that is named here, of the environment, of
        the environment's profile, the default.
        """
        by_hand = _came_from(ctx, option, "COMMANDLINE") or (_came_from(ctx, option, "ENVIRONMENT") and not named_here)
        return given if by_hand or kept is None else kept

    ctx.obj = dataclasses.replace(
        ctx.obj or Connection(),
        address=taken("address", address, usual.address),
        timeout_s=taken("timeout", timeout, usual.timeout),
        transport=taken("transport", transport, usual.transport),
        tls_ca=taken("tls_ca", tls_ca, usual.tls_ca),
        tls_cert=taken("tls_cert", tls_cert, usual.tls_cert),
        tls_key=taken("tls_key", tls_key, usual.tls_key),
        api_key=_api_key(api_key_file),
    )


def _api_key(file: str | None) -> str | None:
    """Return the key of a file, else of the environment. A key is no option: others see the words of a command."""
    return os.environ.get("SHOAL_API_KEY") or None if file is None else key_from_file(file, "--api-key-file")


def _came_from(ctx: typer.Context, option: str, source: str) -> bool:
    found = ctx.get_parameter_source(option)
    return found is not None and found.name == source


app.command("up")(programs.up)
app.command("status")(status.status)
collection.app.command("tune")(recall.tune)
collection.app.command("recall")(recall.recall)
collection.app.command("fit")(fit.fit)
app.add_typer(collection.app, name="collection")
app.add_typer(certificates.app, name="cert")
app.add_typer(key.app, name="key")
app.add_typer(profile.app, name="profile")
app.add_typer(shard.app, name="shard")
app.add_typer(worker.app, name="worker")
app.add_typer(rebalance.app, name="rebalance")
app.command("audit")(shard.audit)
app.command("import")(importing.import_points)
app.command("export")(exporting.export)
app.command("search")(search.search)
app.command("get")(points.get)
app.command("count")(points.count)
app.command("scroll")(points.scroll)
app.command("delete")(points.delete)
app.command("set-payload")(updates.set_payload)
app.command("replace-payload")(updates.replace_payload)
app.command("delete-payload")(updates.delete_payload)
app.command("update-vectors")(updates.update_vectors)
app.command("size")(size.size)
app.command("fsck")(programs.fsck)


def main() -> None:
    """Run the command line and exit; see shoal.cli.entry."""
    app(prog_name="shoal")
