"""`python -m tests.house.settings_pages` writes docs/reference/settings.md and deploy/samples/*.toml from the settings
classes. A test compares.
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

Every process takes its settings from a TOML file (`--config FILE` or `SHOAL_CONFIG`), from environment variables and
from flags. When two of them differ, the flag wins over the variable, and the variable wins over the file.

* The flag of `lease_ttl_s` is `--lease-ttl-s`. `--help` shows the same list as this page.
* A list is written with commas in a variable or a flag, and as `["a:1", "b:1"]` in a file.
* An unknown key, a value of a wrong type and a value that is not allowed are errors. The error names the setting.
* Kubernetes sets `SHOAL_PORT=tcp://10.0.0.1:7600` in every pod beside a service named `shoal`, and
  `SHOAL_METRICS_PORT` beside one named `shoal-metrics`. Such values are ignored with a warning.
* `shoal up` has flags for what is needed often. It takes the rest from the file and from variables.
* A password is never a setting: a setting names a file that holds the password.

`deploy/samples/` has a file for each command with every setting at its default.

This page is written by `python -m tests.house.settings_pages`, and a test keeps it true.
"""


def page() -> str:
    """docs/reference/settings.md."""
    return "\n".join([_HEAD, *(_section(command, kind) for command, kind in KINDS.values())])


def sample(name: str) -> str:
    """deploy/samples/<name>.toml."""
    command, kind = KINDS[name]
    head = f"# Settings of `{command}`, each at its default: `{command} --config {name}.toml`. See docs/reference/settings.md.\n"
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
    (ROOT / "docs/reference/settings.md").write_text(page(), encoding="utf-8")
    for name in KINDS:
        (ROOT / f"deploy/samples/{name}.toml").write_text(sample(name), encoding="utf-8")


if __name__ == "__main__":
    main()
