"""The commands that documents and messages show: they do what they should, and none of them leaves a Ray open to
everybody.
"""

from __future__ import annotations

import re

import pytest

from tests.house.source_tree import PACKAGES, python_files
from tests.support.repository import ROOT

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
TOKEN = "RAY_AUTH_MODE=token"


def blocks(text: str) -> list[str]:
    """What stands between fences."""
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def open_rays(block: str) -> list[str]:
    """Lines that start or join a Ray and have no token: neither in themselves nor by an export before them."""
    exported, found = False, []
    for line in block.splitlines():
        if line.strip().startswith("#"):
            exported = False  # another machine
        exported = exported or line.strip() == f"export {TOKEN}"
        if re.search(r"\bray start\b|--ray-address", line) and not exported and TOKEN not in line:
            found.append(line)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_ray_that_a_document_starts_has_a_token(document) -> None:
    assert [line for block in blocks(document.read_text(encoding="utf-8")) for line in open_rays(block)] == []


def test_the_commands_for_ray_are_found() -> None:
    shown = "".join(blocks((ROOT / "docs/operations/ray.md").read_text(encoding="utf-8")))
    assert shown.count("ray start") >= 4


@pytest.mark.parametrize("block", ["ray start --head\n", "# one\nexport RAY_AUTH_MODE=token\n# another\nray start --address h:1\n"])
def test_an_open_ray_is_noticed(block: str) -> None:
    assert len(open_rays(block)) == 1


def test_every_ray_that_a_message_starts_has_a_token() -> None:
    told = [line for file in python_files(*PACKAGES) for line in file.read_text(encoding="utf-8").splitlines() if "'ray start" in line]
    assert told == []
    assert f"'{TOKEN} ray start" in (ROOT / "deploy/ray/cluster.py").read_text(encoding="utf-8")


def test_the_two_commands_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = blocks(text.partition("## Two commands")[2])[0]
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make demo", "make test"]


def test_wherever_the_server_is_installed_an_etcd_is() -> None:
    lines = [line for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) for line in block.splitlines()]
    installs = [line for line in lines if "shoal[server" in line]
    assert installs
    assert [line for line in installs if "etcd-server" not in line and "local" not in line] == []
