"""Free TCP ports for tests that run side by side."""

import contextlib
import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator

_FIRST = 10_000  # below the ports of outgoing connections, which Linux takes from 32768 on
_PER_WORKER = 2_000


def find_free_port() -> int:
    """Return a port of 127.0.0.1 that no server, other worker or outgoing connection uses.

    No port is returned twice within 2000 calls of a worker.
    """
    for port in _candidates():
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the candidates do not end")


@functools.cache
def _candidates() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    first = _FIRST + _PER_WORKER * worker
    ports = random.SystemRandom().sample(range(first, first + _PER_WORKER), _PER_WORKER)
    return itertools.cycle(ports)
