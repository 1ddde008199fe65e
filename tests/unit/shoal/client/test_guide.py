"""Test the guide: its truth table is true, it names every operator, its examples are Python, and its limits are the
real ones.

Test the page of errors: it names every error and every detail.
"""

import ast
import json
import re

import pytest

from shoal.core import errors, filter_input
from shoal.core.errors import ErrorDetails, ShoalError
from shoal.core.filter_input import filter_from_input
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from tests.support.repository import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
GUIDE = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/guide").glob("*.md")))
ROWS = re.findall(r"^\| `(\{.*\})` \| `(\{.*\})` \| (yes|no) \|$", GUIDE, flags=re.MULTILINE)
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL))
]
ERRORS = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("filter", "payload", "told"), ROWS)
def test_the_truth_table_is_true(filter, payload, told):
    assert matches(filter_from_input(json.loads(filter), DEFAULT_LIMITS), json.loads(payload), 1) == (told == "yes")


def test_the_truth_table_shows_every_operator_both_ways():
    assert len(ROWS) > 30
    assert {told for _, _, told in ROWS} == {"yes", "no"}
    shown = {operator for filter, _, _ in ROWS for operator in re.findall(r"\$\w+", filter)}
    assert {"$ne", "$nin", "$in", "$gt", "$gte", "$lt", "$exists", "$contains", "$prefix", "$not", "$or"} <= shown


def test_every_operator_is_told():
    for operator in (*filter_input._CONNECTIVES, *filter_input._FIELD_OPERATORS):
        assert f"`{operator}`" in GUIDE or f'"{operator}"' in GUIDE, operator


@pytest.mark.parametrize("block", EXAMPLES)
def test_examples_are_python(block):
    compile(block, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_examples_are_found():
    assert len(EXAMPLES) > 15


def test_limits_that_are_told_are_the_limits():
    for number in (DEFAULT_LIMITS.filter_depth, DEFAULT_LIMITS.filter_conditions, DEFAULT_LIMITS.filter_values, DEFAULT_LIMITS.k):
        assert f"{number:,}" in GUIDE


def test_the_page_of_errors_has_every_error_with_its_status():
    told = re.findall(r"^\| `(\w+)`(?:, an? `(\w+)`)? \| `(\w+)` \| (yes|no) \|", ERRORS, flags=re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ShoalError) and kind is not ShoalError]
    above = {kind: kind.__mro__[1].__name__ if kind.__mro__[1] is not ShoalError else "" for kind in kinds}
    assert told == [(kind.__name__, above[kind], kind.status, "yes" if kind.retryable else "no") for kind in kinds]


def test_the_page_of_errors_has_every_detail():
    fields = re.findall(r"^\| `(\w+)` \| [^`|]*(?:`[^|]*)?\|$", ERRORS.partition("| field |")[2], flags=re.MULTILINE)
    assert fields == list(ErrorDetails.__dataclass_fields__)
