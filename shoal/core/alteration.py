"""The changes that a live collection allows, and the specification after a change.

Everything else of a collection is fixed when it is created.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shoal.core.collection import CollectionSpec, check_min_isr, check_range, check_recall
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fusion_choice import SearchDefaults, search_defaults_from_input
from shoal.core.index_spec import index_from_input
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.named_vectors import NamedVector
from shoal.core.shown import shown
from shoal.core.text_fields import TextField, text_fields_from_input


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Alteration:
    """Changes of a collection; None leaves a value as it is.

    index: as in CollectionSpec, in any spelling; recall: target of searches that give none; replicas: of each shard;
    min_isr: replicas that a write must reach, 0 for the default; text: all its text fields from now on: those that are
    not among them are dropped; defaults: of searches, all of them; without it, boosts of dropped text fields go with
    these; indexes: in place of index, of named vectors: those that it does not name stay.
    """

    index: str | None = None
    recall: float | None = None
    replicas: int | None = None
    min_isr: int | None = None
    text: tuple[TextField, ...] | None = None
    defaults: SearchDefaults | None = None
    indexes: Mapping[str, str] | None = None


def altered_spec(spec: CollectionSpec, alteration: Alteration, limits: Limits = DEFAULT_LIMITS) -> CollectionSpec:
    """Return the specification after an alteration, which may be the same.

    Raises InvalidArgument that names the field; also if the alteration is empty.
    """
    if dataclasses.replace(alteration, indexes=alteration.indexes or None) == Alteration():
        raise InvalidArgument(
            f"nothing to alter in collection {spec.name!r}: give an index, a recall, replicas, min_isr, text or defaults",
            ErrorDetails(field="index"),
        )
    recall, replicas, min_isr = spec.recall, spec.replicas, spec.min_isr_set
    index, vectors = _indexes(spec, alteration)
    if alteration.recall is not None:
        check_recall(alteration.recall)
        recall = float(alteration.recall)
    if alteration.replicas is not None:
        check_range("replicas", alteration.replicas, limits.replicas)
        replicas = alteration.replicas
    if alteration.min_isr is not None:
        min_isr = alteration.min_isr
    elif min_isr > replicas:
        raise InvalidArgument(
            f"replicas is {replicas}, but min_isr of collection {spec.name!r} was set to {min_isr}: give a min_isr from 1 to {replicas} "
            "too, or 0 for the usual",
            ErrorDetails(field="replicas"),
        )
    check_min_isr(min_isr, replicas)
    text, defaults = _searching(spec, alteration)
    return dataclasses.replace(
        spec,
        index=index,
        recall=recall,
        replicas=replicas,
        min_isr_set=min_isr,
        text=text,
        defaults=defaults,
        vectors=vectors,
    )


def _indexes(spec: CollectionSpec, alteration: Alteration) -> tuple[str, tuple[NamedVector, ...]]:
    """Return the index of the unnamed vector and the named vectors after an alteration."""
    index, indexes = spec.index, alteration.indexes or {}
    if alteration.index is not None:
        if spec.vectors:
            names = ", ".join(each.name for each in spec.vectors)
            raise InvalidArgument(
                f"index is {shown(alteration.index)}: collection {spec.name!r} has several vectors, give an index by name: {names}",
                ErrorDetails(field="index"),
            )
        index = index_from_input(alteration.index, dim=spec.dim)
    if indexes and not spec.vectors:
        raise InvalidArgument(
            f"indexes is {shown(dict(indexes))}: collection {spec.name!r} has one vector without a name, give index",
            ErrorDetails(field="indexes"),
        )
    changed = {name: index_from_input(given, dim=spec.vector_of(name).dim) for name, given in indexes.items()}
    return index, tuple(dataclasses.replace(each, index=changed.get(each.name, each.index)) for each in spec.vectors)


def _searching(spec: CollectionSpec, alteration: Alteration) -> tuple[tuple[TextField, ...], SearchDefaults]:
    """Return the text fields and the defaults of searches after an alteration."""
    text = spec.text if alteration.text is None else text_fields_from_input(alteration.text)
    names = [each.name for each in text]
    if alteration.defaults is not None:
        return text, search_defaults_from_input(alteration.defaults, names)
    kept = tuple((name, boost) for name, boost in spec.defaults.boosts if name in names)
    return text, dataclasses.replace(spec.defaults, boosts=kept)
