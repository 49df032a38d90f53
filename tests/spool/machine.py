"""A machine whose running time the test sets, and an envelope of its."""

import uuid

from listener.spool.files import SpoolEntry
from listener.spool.queue import Spool

MIB = 1 << 20


class FakeClock:
    """A machine whose running time the test sets."""

    def __init__(self) -> None:
        self.name = "first"
        self.now_s = 1000.0

    def boot(self) -> str:
        return self.name

    def running_s(self) -> float:
        return self.now_s

    def reboot(self) -> None:
        self.name += "+"
        self.now_s = 0.0


def put(spool: Spool, seq: int, data: bytes = b"sealed") -> SpoolEntry:
    return spool.put(str(uuid.UUID(int=seq)), "ada", seq, data)
