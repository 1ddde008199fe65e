"""Collection specifications between messages and domain values."""

from __future__ import annotations

from shoal.core.alteration import Alteration
from shoal.core.collection import Collection, CollectionSpec, Metric, spec_from_input
from shoal.core.limits import Limits
from shoal.core.shard_calls import DEFAULT_RECALL
from shoal.v1 import collections_pb2


def spec_from_message(message: collections_pb2.CollectionSpec, limits: Limits) -> CollectionSpec:
    """Validated specification; what is not given takes its default. Raises InvalidArgument naming the field."""
    return spec_from_input(
        name=message.name,
        dim=message.dim,
        metric=message.metric or Metric.L2.value,
        shards=message.shards or 1,
        replicas=message.replicas or 1,
        index=message.index or "auto",
        recall=message.recall or DEFAULT_RECALL,
        min_isr=message.min_isr,
        limits=limits,
    )


def spec_to_message(spec: CollectionSpec) -> collections_pb2.CollectionSpec:
    """Specification as a message."""
    return collections_pb2.CollectionSpec(
        name=spec.name,
        dim=spec.dim,
        metric=spec.metric.value,
        shards=spec.shards,
        replicas=spec.replicas,
        index=spec.index,
        recall=spec.recall,
        min_isr=spec.min_isr_set,
    )


def alteration_from_message(message: collections_pb2.AlterCollectionRequest) -> Alteration:
    """What is to change; what is not given stays as it is."""
    return Alteration(
        index=message.index if message.HasField("index") else None,
        recall=message.recall if message.HasField("recall") else None,
        replicas=message.replicas if message.HasField("replicas") else None,
        min_isr=message.min_isr if message.HasField("min_isr") else None,
    )


def alteration_to_message(name: str, alteration: Alteration) -> collections_pb2.AlterCollectionRequest:
    """What is to change of the collection of that name, as a message."""
    return collections_pb2.AlterCollectionRequest(
        name=name, index=alteration.index, recall=alteration.recall, replicas=alteration.replicas, min_isr=alteration.min_isr
    )


def summary_to_message(collection: Collection) -> collections_pb2.CollectionSummary:
    """A collection as a message."""
    return collections_pb2.CollectionSummary(id=collection.id, spec=spec_to_message(collection.spec), state=collection.state.value)
