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
from shoal.core.shown import shown
from shoal.core.text_fields import TextField, text_fields_from_input


class Metric(StrEnum):
    """How two vectors are compared.

    l2: squared Euclidean distance, smaller is better; ip (inner product) and cosine: larger is better.
    """

    L2 = "l2"
    IP = "ip"
    COSINE = "cosine"

    @property
    def smaller_is_better(self) -> bool:
        """Return whether the best score is the smallest."""
        return self is Metric.L2


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
    several legs.
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
) -> CollectionSpec:
    """Return the validated specification. min_isr: 0 for the default; text, defaults: see text_fields_from_input and
    search_defaults_from_input.

    Raises InvalidArgument that names the field and the allowed values.
    """
    check_name(name, limits)
    check_range("dim", dim, limits.dim)
    check_range("shards", shards, limits.shards)
    check_range("replicas", replicas, limits.replicas)
    check_min_isr(min_isr, replicas)
    check_recall(recall)
    text_fields = text_fields_from_input(text)
    return CollectionSpec(
        name=name,
        dim=int(dim),
        metric=_metric(metric),
        shards=int(shards),
        replicas=int(replicas),
        index=index_from_input(index, dim=int(dim)),
        recall=float(recall),
        min_isr_set=int(min_isr),
        text=text_fields,
        defaults=search_defaults_from_input(defaults, [each.name for each in text_fields]),
    )


def check_min_isr(min_isr: int, replicas: int) -> None:
    """Raise InvalidArgument unless min_isr is 0 (the default) or from 1 to replicas."""
    if isinstance(min_isr, bool) or not isinstance(min_isr, int) or not 0 <= min_isr <= replicas:
        usual = max(1, replicas - 1)
        allowed = f"with {replicas} replicas it must be from 1 to {replicas}, or 0 for {usual}, the usual"
        raise InvalidArgument(f"min_isr is {shown(min_isr)}, {allowed}", ErrorDetails(field="min_isr"))


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


def _metric(value: str) -> Metric:
    try:
        return Metric(value)
    except ValueError:
        raise InvalidArgument(f"metric is {shown(value)}, it must be one of l2, ip, cosine", ErrorDetails(field="metric")) from None
