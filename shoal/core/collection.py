"""A collection: its specification as the user gives it, and its state in the cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fusion_choice import SearchDefaults, search_defaults_from_input
from shoal.core.ids import CollectionId, Revision
from shoal.core.index_spec import index_from_input
from shoal.core.limits import Limits
from shoal.core.metric import Metric, metric_from_input
from shoal.core.named_vectors import NamedVector, named_vectors_from_input, packed_dim
from shoal.core.shown import shown
from shoal.core.text_fields import TextField, text_fields_from_input


class CollectionState(StrEnum):
    """CREATING: shards are being placed; ACTIVE: usable; DROPPING: the tombstone, upon which workers delete their
    folders.
    """

    CREATING = "creating"
    ACTIVE = "active"
    DROPPING = "dropping"


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionSpec:
    """A collection as its user specifies it.

    index: see shoal.core.index_spec; recall: target of searches that give none; min_isr_set: replicas that a write must
    reach, as the user chose; 0: replicas - 1, at least 1; text: its text fields, by name; defaults: of searches with
    several legs; vectors: its named vectors in the order of the packed row, then dim is 0 and metric and index mean
    nothing; without them points have one vector, whose name is "".
    """

    name: str
    dim: int
    metric: Metric = Metric.L2
    shards: int = 1
    replicas: int = 1
    index: str = "auto"
    recall: float = 0.95
    min_isr_set: int = 0
    text: tuple[TextField, ...] = ()
    defaults: SearchDefaults = SearchDefaults()
    vectors: tuple[NamedVector, ...] = ()

    @property
    def point_dim(self) -> int:
        """Return the length of the vector that a point is stored with: of the packed row, with named vectors."""
        return packed_dim(self.vectors) if self.vectors else self.dim

    @property
    def unused_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that mean nothing: with named vectors, each has its own."""
        return ("dim", "metric", "index") if self.vectors else ()

    def vector_of(self, name: str) -> NamedVector:
        """Return the vector of this name. Raises InvalidArgument that tells the names there are."""
        if not self.vectors and not name:
            return NamedVector(name="", dim=self.dim, metric=self.metric, index=self.index)
        for each in self.vectors:
            if each.name == name:
                return each
        names = ", ".join(each.name for each in self.vectors)
        if not self.vectors:
            told = f"collection {self.name!r} has one vector without a name, not {name!r}"
        elif not name:
            told = f"collection {self.name!r} has several vectors, give the name of one: {names}"
        else:
            told = f"collection {self.name!r} has no vector {name!r}, it has {names}"
        raise InvalidArgument(told, ErrorDetails(field="vector"))

    @property
    def min_isr(self) -> int:
        """Return the replicas that a write must reach before it is acknowledged."""
        return self.min_isr_set or max(1, self.replicas - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """A collection as the cluster stores it.

    request_id: of the call that created it, to recognise a retry; revision: modification revision of its key.
    """

    id: CollectionId
    spec: CollectionSpec
    state: CollectionState
    request_id: str
    revision: Revision = Revision(0)


def spec_from_input(
    *,
    name: str,
    dim: int,
    metric: str,
    shards: int,
    replicas: int,
    index: str,
    limits: Limits,
    recall: float = 0.95,
    min_isr: int = 0,
    text: object = (),
    defaults: object = SearchDefaults(),
    vectors: object = (),
) -> CollectionSpec:
    """Return the validated specification. min_isr: 0 for the default; text, defaults, vectors: see
    text_fields_from_input, search_defaults_from_input and named_vectors_from_input; with vectors, dim is 0 and metric
    and index are what a vector has that names none.

    Raises InvalidArgument that names the field and the allowed values.
    """
    check_name(name, limits)
    named = named_vectors_from_input(vectors, metric=metric, index=index, limits=limits)
    if named and dim:
        raise InvalidArgument(f"dim is {shown(dim)}, with named vectors each has its own", ErrorDetails(field="dim"))
    if not named:
        check_range("dim", dim, limits.dim)
    check_range("shards", shards, limits.shards)
    check_range("replicas", replicas, limits.replicas)
    check_min_isr(min_isr, replicas)
    check_recall(recall)
    text_fields = text_fields_from_input(text)
    return CollectionSpec(
        name=name,
        dim=int(dim),
        metric=Metric.L2 if named else metric_from_input(metric),
        shards=int(shards),
        replicas=int(replicas),
        index="auto" if named else index_from_input(index, dim=int(dim)),
        recall=float(recall),
        min_isr_set=int(min_isr),
        text=text_fields,
        defaults=search_defaults_from_input(defaults, [each.name for each in text_fields]),
        vectors=named,
    )


def check_min_isr(min_isr: int, replicas: int) -> None:
    """Raise InvalidArgument unless min_isr is 0 (the default) or from 1 to replicas."""
    if isinstance(min_isr, bool) or not isinstance(min_isr, int) or not 0 <= min_isr <= replicas:
        raise InvalidArgument(
            f"min_isr is {min_isr!r}, with {replicas} replicas it must be from 1 to {replicas}, or 0 for {max(1, replicas - 1)}, the usual",
            ErrorDetails(field="min_isr"),
        )


def check_recall(recall: float) -> None:
    """Raise InvalidArgument unless recall is a number above 0 and at most 1."""
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise InvalidArgument(f"recall is {shown(recall)}, it must be a number above 0 and at most 1", ErrorDetails(field="recall"))


def check_name(name: str, limits: Limits) -> None:
    """Raise InvalidArgument unless the name is valid for a collection."""
    if not isinstance(name, str) or not re.fullmatch(rf"[a-zA-Z0-9_-]{{1,{limits.name_length}}}", name):
        raise InvalidArgument(
            f"collection name {name!r} must match [a-zA-Z0-9_-]{{1,{limits.name_length}}}", ErrorDetails(field="name", limit="name_length")
        )


def check_range(field: str, value: int, upper: int, least: int = 1) -> None:
    """Raise InvalidArgument unless least <= value <= upper."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= upper:
        raise InvalidArgument(
            f"{field} is {shown(value)}, it must be an integer from {least} to {upper}", ErrorDetails(field=field, limit=field)
        )
