"""`python -m tests.house.settings_pages` writes docs/settings.md and deploy/samples/*.toml from the settings classes. A
test compares.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from shoal.coordinator.settings import CoordinatorSettings
from shoal.deploy.settings import LocalSettings
from shoal.router.settings import RouterSettings
from shoal.shard_worker.settings import WorkerSettings
from tests.support.repository import ROOT

KINDS: dict[str, tuple[str, type[Any]]] = {
    "up": ("shoal up", LocalSettings),
    "coordinator": ("python -m shoal.coordinator", CoordinatorSettings),
    "worker": ("python -m shoal.shard_worker", WorkerSettings),
    "router": ("python -m shoal.router", RouterSettings),
}
"""By the name of the sample: the command and the class."""

_HEAD = """# Settings

Every process takes its settings from a TOML file (`--config FILE` or `SHOAL_CONFIG`), from variables, and from flags; of two that differ,
the later one in this list wins. The flag of `lease_ttl_s` is `--lease-ttl-s`. A list is written with commas in a variable or a flag, and as
`["a:1", "b:1"]` in a file. Unknown keys, values of a wrong type and values that cannot be are errors that name the setting. `--help` shows
the same list. A flag wins over a variable, whatever that holds. `SHOAL_PORT=tcp://10.0.0.1:7600`, as Kubernetes sets it in every pod
beside a service named `shoal` (and `SHOAL_METRICS_PORT` for `shoal-metrics`), is ignored with a warning.
The command `shoal up` has flags for what is needed often, and takes the rest from the file and from variables.

`deploy/samples/` has a file for each command with every setting at its default. Passwords are never settings: a setting names a file that
holds one.

This page is written by `python -m tests.house.settings_pages`, and a test keeps it true.
"""


def page() -> str:
    """docs/settings.md."""
    return "\n".join([_HEAD, *(_section(command, kind) for command, kind in KINDS.values())])


def sample(name: str) -> str:
    """deploy/samples/<name>.toml."""
    command, kind = KINDS[name]
    head = f"# Settings of `{command}`, each at its default: `{command} --config {name}.toml`. See docs/settings.md.\n"
    return "\n".join([head, *(f"# {each.metadata['help']}\n{each.name} = {_value(each.default)}\n" for each in dataclasses.fields(kind))])


def _section(command: str, kind: type[Any]) -> str:
    rows = [
        f"| `{each.name}` | `{_value(each.default)}` | `{_variable(each)}` | {each.metadata['help']} |" for each in dataclasses.fields(kind)
    ]
    return "\n".join([f"## `{command}`", "", "| setting | default | variable | what it is |", "|---|---|---|---|", *rows, ""])


def _variable(field: Any) -> str:
    return field.metadata["variable"] or f"SHOAL_{field.name.upper()}"


def _value(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def main() -> None:
    """Write all of them."""
    (ROOT / "docs/settings.md").write_text(page(), encoding="utf-8")
    for name in KINDS:
        (ROOT / f"deploy/samples/{name}.toml").write_text(sample(name), encoding="utf-8")


if __name__ == "__main__":
    main()
