"""API keys of a cluster that is a dictionary: what its coordinator answers."""

from __future__ import annotations

from shoal.core.api_keys import ApiKey, CreateKey, KeyInfo, ListKeys, NewKey, RevokeKey, info_of, key_text, made_key
from shoal.core.errors import ErrorDetails, NotFound

NOW_MS = 1_700_000_000_000


class KeyTwin:
    """Answers requests about keys. asked: the requests. The first key has the id 000000000001."""

    def __init__(self) -> None:
        self.known: dict[str, ApiKey] = {}
        self.asked: list[CreateKey | RevokeKey] = []

    def CreateKey(self, request: CreateKey) -> NewKey:
        self.asked.append(request)
        number = len(self.asked)
        key = made_key(request, text=key_text(f"{number:012x}", bytes([number]) * 32), now_ms=NOW_MS)
        self.known[key.id] = key
        return NewKey(key=info_of(key), text=key_text(key.id, bytes([number]) * 32))

    def ListKeys(self, request: ListKeys) -> tuple[KeyInfo, ...]:
        return tuple(info_of(self.known[id]) for id in sorted(self.known))

    def RevokeKey(self, request: RevokeKey) -> KeyInfo:
        self.asked.append(request)
        if request.id not in self.known:
            raise NotFound(f"there is no key with the id {request.id}", ErrorDetails(field="key"))
        return info_of(self.known.pop(request.id))
