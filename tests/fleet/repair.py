"""``python -m tests.fleet.repair``: one repair of a fleet's storage, with its figures.

Reads a `RepairPlan` from standard input and prints a `RepairFigures`.
"""

import re
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.fleet.fleet_store import FleetStore, open_database
from listener.archive.fleet.object_blobs import ObjectBlobs, open_objects
from listener.archive.records import RowMac
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope

_KIB: Final = 1024


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is repaired."""

    database: str
    objects: str
    environment: dict[str, str]
    grace_s: int
    """Age of an object below which it is not touched."""
    key: str
    """The archive's key, hex, from which the MAC of the rows derives."""


class RepairFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How the repair went."""

    created: int
    took_s: float
    cpu_s: float
    most_rows: int
    """Rows that one statement read or changed, at most."""
    peak_bytes: int


class _Counter:
    """Counts the rows of each statement of this process."""

    def __init__(self) -> None:
        self.most_rows = 0
        execute = psycopg.Cursor.execute

        def counted(cursor: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
            made = execute(cursor, *arguments, **options)
            self.most_rows = max(self.most_rows, cursor.rowcount)
            return made

        psycopg.Cursor.execute = counted  # type: ignore[method-assign,assignment] # in this process alone


def _verify(data: bytes) -> Envelope:
    raise BadEnvelope(f"{len(data)} bytes are not an envelope")


def _peak_bytes() -> int:
    """Return the largest resident memory of this process.

    `ru_maxrss` would include what its parent used at the start of the process.
    """
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * _KIB


def main() -> None:
    """Repair once."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=RepairPlan)
    counter = _Counter()
    blobs = ObjectBlobs(open_objects(plan.objects, plan.environment))
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(plan.key))
    database = open_database(plan.database, blobs)
    store = FleetStore(database, blobs, "repair", RowMac.for_key(key))
    begun_s, cpu_s = time.monotonic(), time.process_time()
    created = store.repair(_verify, plan.grace_s)
    figures = RepairFigures(
        created=created,
        took_s=time.monotonic() - begun_s,
        cpu_s=time.process_time() - cpu_s,
        most_rows=counter.most_rows,
        peak_bytes=_peak_bytes(),
    )
    store.close()
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")


if __name__ == "__main__":
    main()
