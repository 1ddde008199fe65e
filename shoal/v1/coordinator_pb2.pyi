from shoal.v1 import access_pb2 as _access_pb2
from shoal.v1 import collections_pb2 as _collections_pb2
from shoal.v1 import operations_pb2 as _operations_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
