"""A real etcd that requires TLS on both sides and a user: root, shoal (may do everything) or nobody (nothing)."""

from __future__ import annotations

from pathlib import Path

import grpc

from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.wire.tls import Tls
from tests.support.etcd.process import EtcdProcess
from tests.support.network.certificates import Authority

USER, PASSWORD = "shoal", "a pass word"
CALL_S = 5.0


class SecureEtcd(EtcdProcess):
    """An etcd with TLS. client: a certificate that it trusts; authority: the one that signed all certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder, "ours")
        self.client = self.authority.sign("client")
        server = self.authority.sign("server")
        files = (f"--cert-file={server.certificate}", f"--key-file={server.key}", f"--trusted-ca-file={self.authority.ca}")
        super().__init__(folder, flags=(*files, "--client-cert-auth", "--bcrypt-cost=4"), tls=self.authority.context(self.client))

    @property
    def tls(self) -> Tls:
        """Return the certificates of a client."""
        return Tls(self.authority.files(self.client))

    def enable_users(self) -> None:
        """Create the users and require a user from now on. Call it once in the life of the data."""
        # The requests of etcd's administration look like AuthenticateRequest: two texts, in fields 1 and 2.
        with grpc.secure_channel(self.endpoint, self.tls.current().channel_credentials()) as channel:

            def ask(method: str, name: str = "", other: str = "") -> None:
                call = channel.unary_unary(
                    f"/etcdserverpb.Auth/{method}",
                    request_serializer=rpc.AuthenticateRequest.SerializeToString,
                    response_deserializer=bytes,
                )
                call(rpc.AuthenticateRequest(name=name, password=other), timeout=CALL_S)

            ask("RoleAdd", "root")
            for user, password in (("root", "r"), (USER, PASSWORD), ("nobody", "n")):
                ask("UserAdd", user, password)
            ask("UserGrantRole", "root", "root")
            ask("UserGrantRole", USER, "root")
            ask("AuthEnable")
