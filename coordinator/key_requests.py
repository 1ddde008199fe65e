"""Makes, lists and revokes API keys. Each change is one compare-and-swap with its entry in the audit.

The text of a key is made here and is in one answer. It is neither stored nor logged.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.coordinator.audit_log import CREATE_KEY, REVOKE_KEY, AuditLog
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.core.api_keys import (
    MOST_KEYS,
    ApiKey,
    CreateKey,
    KeyInfo,
    ListKeys,
    NewKey,
    RevokeKey,
    check_id,
    id_for,
    info_of,
    key_text,
    made_key,
)
from shoal.core.errors import AlreadyExists, DataLoss, ErrorDetails, NotFound, ResourceExhausted, Unavailable
from shoal.store.interface import Absent, Compare, DeleteKey, Put, Transaction, Unchanged, Versioned
from shoal.store.key_codecs import decode_key, encode_key
from shoal.store.keys import Keys


class KeyRequests:
    """The requests about API keys. wall_ms: returns the time in ms since 1970. new_id: returns a new text.

    new_secret: returns 32 random bytes that nobody can guess. Each call raises Unavailable (not the leader, no store)
    or DeadlineExceeded, too.
    """

    def __init__(
        self,
        *,
        requests: UserRequests,
        keys: Keys,
        audit: AuditLog,
        wall_ms: Callable[[], int],
        new_id: Callable[[], str],
        new_secret: Callable[[], bytes],
    ) -> None:
        self._requests, self._keys, self._audit = requests, keys, audit
        self._wall_ms, self._new_id, self._new_secret = wall_ms, new_id, new_secret

    async def create(self, request: CreateKey, timeout_s: float) -> NewKey:
        """Make a key. If a request comes again, the key has the new text, and what it asks now.

        Raises ResourceExhausted if there are as many keys as may be.
        """
        asked = self._requests.begin(timeout_s, "no time was left for the key; it may have been made")
        request_id = request.request_id or self._new_id()
        text = key_text(id_for(request_id), self._new_secret())
        key = made_key(request, request_id=request_id, text=text, now_ms=self._wall_ms())
        made = NewKey(key=info_of(key), text=text)

        async def attempt() -> NewKey | None:
            asked.leads()
            as_read = await self._place(asked, key)
            if as_read is None:
                return made
            scopes = " ".join(map(str, key.scopes))
            entry = self._audit.entry(
                CREATE_KEY, subject=key.id, reason=f"{key.name}: {scopes}"[:1_000], asked_by=request.asked_by, request_id=request_id
            )
            put = Put(key=self._keys.api_key(key.id), value=encode_key(key))
            revision = await asked.committed(Transaction(compares=(asked.leads(), as_read), then=(put, entry)))
            return None if revision is None else made

        return await asked.attempts(attempt, Unavailable("the key could not be made: the store's state kept changing"))

    async def _place(self, asked: UserRequest, key: ApiKey) -> Compare | None:
        """Return what must hold when a key is put, None if it is there."""
        name = self._keys.api_key(key.id)
        found = await asked.get(name)
        if found is not None:
            before = decode_key(found.key, found.value)
            if before.digest == key.digest:
                return None
            if before.request != key.request:
                raise AlreadyExists(f"there is a key {key.id}; ask again with another request_id", ErrorDetails(field="request_id"))
            return Unchanged(key=name, mod_revision=found.mod_revision)
        count = len((await asked.list(self._keys.api_keys)).entries)
        if count >= MOST_KEYS:
            raise ResourceExhausted(f"there are {count:,} keys, at most {MOST_KEYS:,} are allowed", ErrorDetails(limit="keys"))
        return Absent(key=name)

    async def list(self, request: ListKeys, timeout_s: float) -> tuple[KeyInfo, ...]:
        """Return the keys, by id. Raises DataLoss for one that cannot be read; it opens nothing and can be revoked."""
        asked = self._requests.begin(timeout_s, "no time was left to list the keys")
        asked.leads()
        listing = await asked.list(self._keys.api_keys)
        return tuple(info_of(decode_key(entry.key, entry.value)) for entry in listing.entries)

    async def revoke(self, request: RevokeKey, timeout_s: float) -> KeyInfo:
        """Remove a key. Raises NotFound if there is none with this id."""
        asked = self._requests.begin(timeout_s, f"no time was left for the key {request.id}; it may have been revoked")
        name = self._keys.api_key(check_id(request.id))
        tried: KeyInfo | None = None

        async def attempt() -> KeyInfo | None:
            nonlocal tried
            asked.leads()
            found = await asked.get(name)
            if found is None:
                if tried is not None:
                    return tried
                raise NotFound(f"there is no key with the id {request.id}", ErrorDetails(field="key"))
            tried = _shown(request.id, found)
            entry = self._audit.entry(REVOKE_KEY, subject=request.id, reason=tried.name, asked_by=request.asked_by)
            compares = (asked.leads(), Unchanged(key=name, mod_revision=found.mod_revision))
            revision = await asked.committed(Transaction(compares=compares, then=(DeleteKey(key=name), entry)))
            return None if revision is None else tried

        return await asked.attempts(attempt, Unavailable("the key could not be revoked: the store's state kept changing"))


def _shown(id: str, found: Versioned) -> KeyInfo:
    """Return a key as operators see it. One that cannot be read has only its id."""
    try:
        return info_of(decode_key(found.key, found.value))
    except DataLoss:
        return KeyInfo(id=id, name="", scopes=(), created_ms=0, expires_ms=0, rate_per_s=0.0, burst=0, concurrency=0)
