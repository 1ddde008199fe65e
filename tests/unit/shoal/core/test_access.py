from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import (
    ALL_SCOPES,
    RULES,
    Caller,
    InAnswer,
    InRequest,
    Rule,
    Scope,
    Verb,
    WholeCluster,
    may,
    may_everywhere,
    may_nowhere,
    scope_from_text,
    scope_of,
    sees,
)
from shoal.core.errors import InvalidArgument

NAMES = st.text("ab-", max_size=8)
PATTERNS = st.text("ab-*", min_size=1, max_size=8)
SCOPES = st.builds(
    lambda pattern, verbs: scope_of(pattern, verbs if pattern == "*" else verbs - {Verb.OPERATE} or {Verb.READ}),
    PATTERNS,
    st.sets(st.sampled_from(Verb), min_size=1),
)
CALLERS = st.builds(lambda scopes: Caller(key_id="0" * 12, scopes=tuple(scopes)), st.lists(SCOPES, max_size=3))
PLACES = st.sampled_from([InRequest("collection"), InAnswer("collections", "spec.name"), WholeCluster()])
ALL_RULES = st.builds(Rule, st.sampled_from(Verb), PLACES)


@given(PATTERNS, NAMES)
def test_a_pattern_means_what_a_shell_means(pattern: str, name: str) -> None:
    assert Scope(collections=pattern, verbs=frozenset({Verb.READ})).covers(name) == fnmatchcase(name, pattern)


@given(CALLERS, ALL_RULES, NAMES)
def test_what_is_known_before_a_request_is_read_is_true_of_every_request(caller: Caller, rule: Rule, name: str) -> None:
    allowed = may(caller, rule, name)
    assert not (allowed and may_nowhere(caller, rule))
    assert allowed or not may_everywhere(caller, rule)


@given(CALLERS, ALL_RULES, NAMES, SCOPES)
def test_one_more_scope_takes_no_right(caller: Caller, rule: Rule, name: str, more: Scope) -> None:
    assert may(caller, rule, name) <= may(Caller(key_id="0" * 12, scopes=(*caller.scopes, more)), rule, name)


def test_a_caller_with_every_scope_may_do_everything() -> None:
    caller = Caller(key_id="0" * 12, scopes=ALL_SCOPES)
    assert all(may(caller, rule, "docs") and may_everywhere(caller, rule) and not may_nowhere(caller, rule) for rule in RULES.values())


def test_a_caller_without_scopes_may_only_list_what_it_sees() -> None:
    caller = Caller(key_id="0" * 12, scopes=())
    assert [path for path, rule in RULES.items() if may(caller, rule, "docs")] == ["/shoal.v1.Collections/List"]
    assert not sees(caller, Verb.READ, "docs")


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/shoal.v1.Search/Search", "docs-*:read"),
        ("/shoal.v1.Points/Upsert", "docs-*:write"),
        ("/shoal.v1.Collections/Drop", "docs-*:manage"),
        ("/shoal.v1.Cluster/Describe", "*:read"),
        ("/shoal.v1.Operations/ListWorkers", "*:read"),
        ("/shoal.v1.Operations/DrainWorker", "*:operate"),
        ("/shoal.v1.Access/CreateKey", "*:operate"),
    ],
)
def test_a_verb_allows_its_calls_and_no_other_verb_does(path: str, right: str) -> None:
    given = {
        text: Caller(key_id="0" * 12, scopes=(scope_from_text(text),)) for text in ("*:read", "*:write", "*:manage", "*:operate", right)
    }
    verb = right.partition(":")[2]
    assert [text for text, caller in given.items() if may(caller, RULES[path], "docs-1")] == sorted(
        {f"*:{verb}", right}, key=list(given).index
    )


def test_a_cluster_wide_call_needs_the_pattern_of_everything() -> None:
    caller = Caller(key_id="0" * 12, scopes=(scope_from_text("**:read"), scope_from_text("a*:read")))
    assert not may(caller, RULES["/shoal.v1.Cluster/Describe"])


def test_a_scope_comes_back_from_its_text() -> None:
    scope = scope_from_text("docs-*: write ,read")
    assert scope == Scope(collections="docs-*", verbs=frozenset({Verb.READ, Verb.WRITE}))
    assert scope_from_text(str(scope)) == scope
    assert str(scope) == "docs-*:read,write"


@pytest.mark.parametrize(
    "text", ["", "docs", "docs:", ":read", "docs:reed", "a b:read", "a?:read", "docs-*:operate", "x" * 256 + ":read", "é:read"]
)
def test_other_scopes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        scope_from_text(text)
    assert refused.value.details.field == "scopes"
