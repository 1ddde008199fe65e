"""Who may do what: the verb of every call, the collection it is about, and the scopes of a caller. Pure.

`RULES` has every RPC of every public service. An RPC that is not in it is not served while keys are on.
`INTERNAL_SERVICES` are for the processes of a cluster: no key opens them.

The four verbs stand beside each other: none of them includes another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown

EVERY_COLLECTION = "*"
"""The pattern of a scope that holds for the cluster, too."""

_PATTERN_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*")
_MOST_PATTERN = 255


class Verb(StrEnum):
    """READ: search and read points; look at the cluster. WRITE: change points. MANAGE: create, alter, measure and drop
    collections.

    OPERATE: workers, plans, recoveries, the audit, and keys. A caller who may operate can make a key with any scope.
    """

    READ = "read"
    WRITE = "write"
    MANAGE = "manage"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class InRequest:
    """The call is about one collection. path: of the field of the request that names it, "spec.name" for example."""

    path: str


@dataclass(frozen=True, slots=True)
class InAnswer:
    """Every caller may call; the answer keeps what the caller may see. items: its repeated field; path: in an item."""

    items: str
    path: str


@dataclass(frozen=True, slots=True)
class WholeCluster:
    """The call is about the cluster. It needs a scope with the pattern `*`."""


Place = InRequest | InAnswer | WholeCluster


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call needs: this verb, at this place."""

    verb: Verb
    place: Place


_COLLECTION, _NAME, _CLUSTER = InRequest("collection"), InRequest("name"), WholeCluster()
_SEE, _OPERATE = Rule(Verb.READ, _CLUSTER), Rule(Verb.OPERATE, _CLUSTER)

RULES: Mapping[str, Rule] = {
    "/shoal.v1.Search/Search": Rule(Verb.READ, _COLLECTION),
    "/shoal.v1.Points/Get": Rule(Verb.READ, _COLLECTION),
    "/shoal.v1.Points/Count": Rule(Verb.READ, _COLLECTION),
    "/shoal.v1.Points/Scroll": Rule(Verb.READ, _COLLECTION),
    "/shoal.v1.Points/Upsert": Rule(Verb.WRITE, _COLLECTION),
    "/shoal.v1.Points/Delete": Rule(Verb.WRITE, _COLLECTION),
    "/shoal.v1.Points/Update": Rule(Verb.WRITE, _COLLECTION),
    "/shoal.v1.Collections/List": Rule(Verb.READ, InAnswer("collections", "spec.name")),
    "/shoal.v1.Collections/Describe": Rule(Verb.READ, _NAME),
    "/shoal.v1.Collections/Create": Rule(Verb.MANAGE, InRequest("spec.name")),
    "/shoal.v1.Collections/Drop": Rule(Verb.MANAGE, _NAME),
    "/shoal.v1.Collections/Alter": Rule(Verb.MANAGE, _NAME),
    "/shoal.v1.Collections/Tune": Rule(Verb.MANAGE, _NAME),
    "/shoal.v1.Collections/MeasureRecall": Rule(Verb.MANAGE, _NAME),
    "/shoal.v1.Collections/Optimize": Rule(Verb.MANAGE, _NAME),
    "/shoal.v1.Collections/RecoverShard": _OPERATE,
    "/shoal.v1.Collections/ListAudit": _OPERATE,
    "/shoal.v1.Cluster/Describe": _SEE,
    "/shoal.v1.Operations/PlanRebalance": _OPERATE,
    "/shoal.v1.Operations/ApplyRebalance": _OPERATE,
    "/shoal.v1.Operations/DescribeRebalance": _SEE,
    "/shoal.v1.Operations/ControlRebalance": _OPERATE,
    "/shoal.v1.Operations/SetBalance": _OPERATE,
    "/shoal.v1.Operations/ListRebalances": _SEE,
    "/shoal.v1.Operations/ListWorkers": _SEE,
    "/shoal.v1.Operations/DrainWorker": _OPERATE,
    "/shoal.v1.Operations/UndrainWorker": _OPERATE,
    "/shoal.v1.Operations/ForgetWorker": _OPERATE,
    "/shoal.v1.Access/CreateKey": _OPERATE,
    "/shoal.v1.Access/ListKeys": _OPERATE,
    "/shoal.v1.Access/RevokeKey": _OPERATE,
}
"""What every public RPC needs, by its path."""

INTERNAL_SERVICES = frozenset({"shoal.v1.Worker", "shoal.v1.Replication", "shoal.v1.Coordinator"})
"""Services between the processes of a cluster."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """These verbs on the collections whose names match the pattern: A-Z a-z 0-9 _ -, and * for any characters.

    Raises InvalidArgument for another pattern, for no verb, and for OPERATE with a pattern that is not `*`.
    """

    collections: str
    verbs: frozenset[Verb]

    def __post_init__(self) -> None:
        pattern = self.collections
        if not 1 <= len(pattern) <= _MOST_PATTERN or not _PATTERN_SIGNS.issuperset(pattern):
            allowed = f"1 to {_MOST_PATTERN} of A-Z, a-z, 0-9, '_' and '-', and '*' for any characters"
            raise _bad_scope(f"the pattern of a scope is {shown(pattern)}, it must be {allowed}")
        if not self.verbs:
            raise _bad_scope(f"the scope {shown(pattern)} has no verb, it must have some of {_VERBS}")
        if Verb.OPERATE in self.verbs and pattern != EVERY_COLLECTION:
            raise _bad_scope(f"the scope {shown(pattern)} has the verb operate, which is about the cluster: its pattern must be '*'")

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        return tuple(self.collections.split("*"))

    def covers(self, collection: str) -> bool:
        """Return whether the name of a collection matches the pattern. Takes linear time."""
        first, *middle = self._parts
        if not middle:
            return collection == first
        last = middle.pop()
        if len(collection) < len(first) + len(last) or not (collection.startswith(first) and collection.endswith(last)):
            return False
        at, end = len(first), len(collection) - len(last)
        for part in middle:
            found = collection.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    def __str__(self) -> str:
        return f"{self.collections}:{','.join(each for each in Verb if each in self.verbs)}"


ALL_SCOPES = (Scope(collections=EVERY_COLLECTION, verbs=frozenset(Verb)),)
"""Everything."""

_VERBS = ", ".join(Verb)


def scope_of(collections: str, verbs: Iterable[str]) -> Scope:
    """Return a scope as a caller gives it. Raises InvalidArgument for an unknown verb, too."""
    known = set()
    for each in verbs:
        if not isinstance(each, str) or each not in Verb.__members__.values():
            raise _bad_scope(f"the verb {shown(each)} of the scope {shown(collections)} is unknown, it must be one of {_VERBS}")
        known.add(Verb(each))
    return Scope(collections=collections, verbs=frozenset(known))


def scope_from_text(text: str) -> Scope:
    """Return the scope of a text such as "docs-*:read,write". Raises InvalidArgument."""
    collections, colon, verbs = text.partition(":")
    if not colon:
        raise _bad_scope(f"the scope is {shown(text)}, it must be PATTERN:VERB,VERB such as docs-*:read,write")
    return scope_of(collections, [each.strip() for each in verbs.split(",") if each.strip()])


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A caller that has proved to hold a key. key_id: of the key."""

    key_id: str
    scopes: tuple[Scope, ...]


def may(caller: Caller, rule: Rule, collection: str = "") -> bool:
    """Return whether a caller may do what a rule is about. collection: that the request names, if its place is one."""
    match rule.place:
        case InAnswer():
            return True
        case WholeCluster():
            return any(rule.verb in each.verbs and each.collections == EVERY_COLLECTION for each in caller.scopes)
        case InRequest():
            return sees(caller, rule.verb, collection)


def sees(caller: Caller, verb: Verb, collection: str) -> bool:
    """Return whether a caller has a verb on a collection."""
    return any(verb in each.verbs and each.covers(collection) for each in caller.scopes)


def may_everywhere(caller: Caller, rule: Rule) -> bool:
    """Return whether a caller may do what a rule is about, whatever collection is named and whatever is answered."""
    return any(rule.verb in each.verbs and each.collections == EVERY_COLLECTION for each in caller.scopes)


def may_nowhere(caller: Caller, rule: Rule) -> bool:
    """Return whether a caller may not do it, whatever collection is named: this is known before a request is read."""
    if isinstance(rule.place, InRequest):
        return not any(rule.verb in each.verbs for each in caller.scopes)
    return not may(caller, rule)


def _bad_scope(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="scopes"))
