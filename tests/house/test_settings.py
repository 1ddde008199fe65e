"""The settings that people read about are those that the programs take: samples load, pages are fresh, secrets are no
values.
"""

from __future__ import annotations

import dataclasses
import tomllib

import pytest

from shoal.runtime.settings import load_settings
from tests.house.settings_pages import KINDS, page, sample
from tests.support.repository import ROOT

STALE = "run python -m tests.house.settings_pages"


def test_the_samples_are_those_of_the_commands() -> None:
    assert {file.stem for file in (ROOT / "deploy/samples").glob("*.toml")} == set(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_sample_loads_and_has_every_setting_at_its_default(name: str) -> None:
    command, kind = KINDS[name]
    file = ROOT / f"deploy/samples/{name}.toml"
    assert load_settings(kind, program=command, arguments=["--config", str(file)], environment={}) == kind()
    assert list(tomllib.loads(file.read_text(encoding="utf-8"))) == [each.name for each in dataclasses.fields(kind)]
    assert file.read_text(encoding="utf-8") == sample(name), STALE


def test_the_page_is_fresh() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8") == page(), STALE


@pytest.mark.parametrize("name", sorted(KINDS))
def test_help_tells_every_setting_with_its_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, kind = KINDS[name]
    with pytest.raises(SystemExit) as ended:
        load_settings(kind, program=command, arguments=["--help"], environment={})
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for each in dataclasses.fields(kind):
        value = ",".join(each.default) if isinstance(each.default, tuple) else each.default
        assert f"(default {value!r}, {each.metadata['variable'] or 'SHOAL_' + each.name.upper()})" in shown, each.name


@pytest.mark.parametrize("name", sorted(KINDS))
def test_variables_of_kubernetes_start_every_command(name: str) -> None:
    """Those of services named shoal and shoal-<anything>: no setting is named as one of them, but ports, which are
    ignored.
    """
    command, kind = KINDS[name]
    environment: dict[str, str] = {}
    for each in dataclasses.fields(kind):
        service = (each.metadata["variable"] or f"SHOAL_{each.name.upper()}").removesuffix("_PORT")
        for of in (service, "SHOAL"):
            link = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "7600", "SERVICE_PORT_GRPC": "7600", "PORT": "tcp://10.0.0.1:7600"}
            link |= {"PORT_7600_TCP": "tcp://10.0.0.1:7600", "PORT_7600_TCP_PROTO": "tcp", "PORT_7600_TCP_ADDR": "10.0.0.1"}
            environment |= {f"{of}_{end}": value for end, value in link.items()}
    assert load_settings(kind, program=command, arguments=[], environment=environment) == kind()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_no_setting_holds_a_secret(name: str) -> None:
    _, kind = KINDS[name]
    assert [each.name for each in dataclasses.fields(kind) if "password" in each.name or "token" in each.name] == ["etcd_password_file"]
