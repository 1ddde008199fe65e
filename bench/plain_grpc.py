"""A client without the SDK: grpcio and the generated stubs, as a user of another language would call."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from bench.load import Load, run_threads
from shoal.v1 import common_pb2, search_pb2, search_pb2_grpc


def measure(address: str, collection: str, queries: npt.NDArray[np.float32], k: int, seconds: float) -> Load:
    """Search one query after the other, (m, dim)."""
    stub_class: Any = search_pb2_grpc.SearchStub
    with grpc.insecure_channel(address) as channel:
        stub = stub_class(channel)

        def ask(at: int) -> int:
            query = queries[at % len(queries)]
            vectors = common_pb2.Vectors(dim=len(query), data=query.tobytes())
            request = search_pb2.SearchRequest(collection=collection, legs=[search_pb2.SearchLeg(vectors=vectors)], k=k)
            return len(stub.Search(request, timeout=10).hits.ids.integers) and 1

        return run_threads(ask, 1, seconds)
