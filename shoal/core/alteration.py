"""What may change of a live collection, and the specification that comes of it. Everything else of a collection is fixed at birth."""

from __future__ import annotations

import dataclasses

from shoal.core.collection import CollectionSpec, check_recall
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.index_spec import index_from_input


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Alteration:
    """index: as in CollectionSpec, in any spelling; recall: target of searches that name none. None leaves it as it is."""

    index: str | None = None
    recall: float | None = None


def altered_spec(spec: CollectionSpec, alteration: Alteration) -> CollectionSpec:
    """The specification after an alteration, which may be the same. Raises InvalidArgument naming the field, also when none is given."""
    if alteration.index is None and alteration.recall is None:
        raise InvalidArgument(f"nothing to alter in collection {spec.name!r}: give an index or a recall", ErrorDetails(field="index"))
    index, recall = spec.index, spec.recall
    if alteration.index is not None:
        index = index_from_input(alteration.index, dim=spec.dim)
    if alteration.recall is not None:
        check_recall(alteration.recall)
        recall = float(alteration.recall)
    return dataclasses.replace(spec, index=index, recall=recall)
