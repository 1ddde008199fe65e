"""How a client reaches routers: over gRPC, over HTTP, or over HTTP where a router offers it; blocking and asyncio."""
