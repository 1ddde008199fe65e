"""`python -m shoal.deploy.ray.link_process FD ADDRESS CLUSTER_NAME`: joins a Ray and carries out the requests of
RayLink, which come over the pipe FD.

It ends on the first failure of Ray and when the pipe closes. It keeps no state that its successor would need.
"""

from __future__ import annotations

import contextlib
import sys
from multiprocessing.connection import Connection
from typing import Any

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.ray.cluster import check_labels, first_line, given_ray
from shoal.deploy.ray.launch import RayLauncher
from shoal.deploy.ray.link_messages import Answer, Failure, Joined, LinkRequest, Reply


def main(descriptor: int, address: str, cluster_name: str) -> int:
    """Serve requests until the pipe closes. Returns the exit code: 1 after a failure, which was sent as a reply."""
    pipe: Connection[Reply, LinkRequest] = Connection(descriptor)
    with pipe, contextlib.suppress(BrokenPipeError, EOFError):
        try:
            with given_ray(address):
                pipe.send(Joined())
                _serve(pipe, RayLauncher(cluster_name=cluster_name, detached=True))
        except (EOFError, BrokenPipeError):
            return 0
        except PreconditionFailed as error:
            pipe.send(Failure(message=error.message, refused=True))
        except Unavailable as error:
            pipe.send(Failure(message=error.message))
        except Exception as error:
            pipe.send(Failure(message=first_line(error)))
    return 1


def _serve(pipe: Connection[Reply, LinkRequest], launcher: RayLauncher) -> None:
    while True:
        request = pipe.recv()
        try:
            pipe.send(Answer(value=_done(launcher, request)))
        except PreconditionFailed as error:
            pipe.send(Failure(message=error.message, refused=True))


def _done(launcher: RayLauncher, request: LinkRequest) -> Any:
    match request.verb:
        case "check_labels":
            return dict(check_labels(*request.arguments))
        case "create":
            return launcher.create(*request.arguments)
        case "poll":
            return launcher.poll(*request.arguments)
        case "stop":
            return launcher.stop(*request.arguments)
        case "kill":
            return launcher.kill(*request.arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
