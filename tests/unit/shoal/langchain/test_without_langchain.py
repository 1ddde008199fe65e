"""The SDK imports no framework, and a missing one is an error that says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


def test_the_sdk_and_the_command_import_no_framework():
    frameworks = ("langchain_core", "llama_index", "pandas", "pyarrow", "ray", "shoal.langchain", "shoal.llamaindex", "shoal.ray")
    done = python(f"import sys, shoal, shoal.cli.main; shoal.Client; print([name for name in {frameworks} if name in sys.modules])")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("room", "missing", "package"),
    [
        ("langchain", "langchain_core", "langchain-core"),
        ("llamaindex", "llama_index", "llama-index-core"),
        ("ray", "ray", "ray[data]"),
        ("ray", "pyarrow", "ray[data]"),
        ("ray", "pandas", "ray[data]"),
    ],
)
def test_a_missing_framework_is_named_with_its_extra(room, missing, package):
    done = python(f"import sys; sys.modules[{missing!r}] = None; import shoal.{room}")
    assert done.stderr.splitlines()[-1] == f"ImportError: shoal.{room} needs {package}: pip install 'shoal[{room}]'"
