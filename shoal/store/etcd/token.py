"""The token that etcd gives for a user name and a password. A client sends it with every request."""

from __future__ import annotations

from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd.settings import EtcdLogin

METADATA = (("hasleader", "true"),)
"""With this, an etcd member without a leader returns an error; else calls and streams would wait."""


class EtcdToken:
    """A token; there is none at first.

    All members of an etcd know the same tokens. Used from one thread or event loop.
    """

    def __init__(self, login: EtcdLogin | None) -> None:
        self._login = login
        self._token: str | None = None
        self.metadata: tuple[tuple[str, str], ...] = METADATA
        """Sent with every request."""

    @property
    def user(self) -> str:
        """Our user name, for messages; "" without a login."""
        return self._login.user if self._login else ""

    @property
    def known(self) -> bool:
        """Whether the metadata is complete: there is a token, or no login is set."""
        return self._login is None or self._token is not None

    @property
    def wanted(self) -> bool:
        """Whether a login is set, so that a token is needed."""
        return self._login is not None

    def request(self) -> rpc.AuthenticateRequest:
        """Return the request for a token. There must be a login."""
        assert self._login is not None
        return rpc.AuthenticateRequest(name=self._login.user, password=self._login.password)

    def take(self, token: str) -> None:
        """Use this token from now on; "" if etcd needs none."""
        self._token = token
        self.metadata = (*METADATA, ("token", token)) if token else METADATA

    def forget(self, sent: tuple[tuple[str, str], ...]) -> None:
        """Drop the token that etcd did not accept. sent: the metadata of the failed request.

        Does nothing if there is a newer token already.
        """
        if self.metadata is sent:
            self._token, self.metadata = None, METADATA
