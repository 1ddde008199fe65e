"""Calls over HTTP/1.1, the side of the caller: requests, the reader of answers, and pools of connections."""
