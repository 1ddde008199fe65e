"""The token that etcd gives for a user name and a password, and that goes with every request of one client."""

from __future__ import annotations

from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd.settings import EtcdLogin

METADATA = (("hasleader", "true"),)
"""Makes a member without a leader say so, instead of letting calls and streams wait."""


class EtcdToken:
    """A token, absent at first.

    All members of an etcd know the same tokens. May be used by one thread or event loop.
    """

    def __init__(self, login: EtcdLogin | None) -> None:
        self._login = login
        self._token: str | None = None
        self.metadata: tuple[tuple[str, str], ...] = METADATA
        """Goes with every request."""

    @property
    def user(self) -> str:
        """Who asks, for messages."""
        return self._login.user if self._login else ""

    @property
    def known(self) -> bool:
        """Whether the metadata says who we are, which it always does when nobody is to be told."""
        return self._login is None or self._token is not None

    @property
    def wanted(self) -> bool:
        """Whether there is a user to ask a token for."""
        return self._login is not None

    def request(self) -> rpc.AuthenticateRequest:
        """Asks for a token."""
        assert self._login is not None
        return rpc.AuthenticateRequest(name=self._login.user, password=self._login.password)

    def take(self, token: str) -> None:
        """Use a token from now on; "" when etcd needs none."""
        self._token = token
        self.metadata = (*METADATA, ("token", token)) if token else METADATA

    def forget(self, sent: tuple[tuple[str, str], ...]) -> None:
        """What went with a request was of no use. Does nothing when there is a newer token already."""
        if self.metadata is sent:
            self._token, self.metadata = None, METADATA
