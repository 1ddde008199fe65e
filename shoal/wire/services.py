"""The gRPC services of all roles, as protobuf describes them."""

from __future__ import annotations

from shoal.v1 import (
    access_pb2,
    cluster_pb2,
    collections_pb2,
    coordinator_pb2,
    operations_pb2,
    points_pb2,
    replication_pb2,
    search_pb2,
    worker_pb2,
)

SEARCH = search_pb2.DESCRIPTOR.services_by_name["Search"]
POINTS = points_pb2.DESCRIPTOR.services_by_name["Points"]
COLLECTIONS = collections_pb2.DESCRIPTOR.services_by_name["Collections"]
CLUSTER = cluster_pb2.DESCRIPTOR.services_by_name["Cluster"]
OPERATIONS = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
ACCESS = access_pb2.DESCRIPTOR.services_by_name["Access"]
COORDINATOR = coordinator_pb2.DESCRIPTOR.services_by_name["Coordinator"]
WORKER = worker_pb2.DESCRIPTOR.services_by_name["Worker"]
REPLICATION = replication_pb2.DESCRIPTOR.services_by_name["Replication"]
