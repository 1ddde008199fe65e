"""Messages become domain values here and go no further; gRPC errors become ours. Refuses to decide anything."""
