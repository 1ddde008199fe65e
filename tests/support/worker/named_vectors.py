"""Points with named vectors for tests of a replica: their specification, and packed rows made plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.points import Matrix, PointId, id_order

NAMED = CollectionSpec(
    name="c",
    dim=0,
    vectors=(
        NamedVector(name="image", dim=3, metric=Metric.L2),
        NamedVector(name="text", dim=2, metric=Metric.IP, index="hnsw"),
        NamedVector(name="sound_1-x", dim=1, metric=Metric.L2, index="flat"),
    ),
)
"""Three vectors with names, dimensions, metrics and indexes of their own."""

DIMS = tuple(each.dim for each in NAMED.vectors)

Vectors = Mapping[str, Sequence[float]]
"""The vectors of one point, by name."""


def row_of(vectors: Vectors) -> list[float]:
    """Return the packed row of a point of NAMED."""
    number, numbers = 0, []
    for bit, each in enumerate(NAMED.vectors):
        number += 2**bit if each.name in vectors else 0
        numbers += [float(value) for value in vectors.get(each.name, [0.0] * each.dim)]
    return [float(number), *numbers]


def rows_of(points: Sequence[Vectors]) -> Matrix:
    """Return the packed rows of points, (n, 7) float32."""
    return np.array([row_of(each) for each in points], dtype=np.float32).reshape(len(points), NAMED.point_dim)


def nearest_by(name: str, query: Sequence[float], points: Mapping[PointId, Vectors], k: int) -> list[PointId]:
    """Return the ids of the k points that are nearest by one of the vectors, best first, from brute force."""
    metric = NAMED.vector_of(name).metric
    having = {each: np.array(vectors[name], dtype=np.float64) for each, vectors in points.items() if name in vectors}
    asked = np.array(query, dtype=np.float64)
    worse = {each: float(np.square(own - asked).sum() if metric is Metric.L2 else -(own @ asked)) for each, own in having.items()}
    return sorted(having, key=lambda each: (worse[each], id_order(each)))[:k]
