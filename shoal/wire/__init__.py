"""Turns protobuf messages into domain values and back, and gRPC errors into Shoal's. It decides nothing."""
