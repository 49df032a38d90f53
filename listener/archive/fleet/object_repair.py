"""Reconciliation of objects and rows beside living writers.

The objects are listed once, in pieces; each piece is compared with its rows. A writer stores the
object before the row, so a young object without a row is not touched. Nothing here keeps a list
that grows with the archive.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from listener.archive.fleet.object_blobs import StoredObject
from listener.archive.fleet.tombstones import MOST_ROWS
from listener.archive.records import Erased, Replayed, Undecided
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope
from listener.quantities import quantity

if TYPE_CHECKING:
    from listener.archive.fleet.fleet_store import FleetStore

_SKEW_S: Final = 60
"""Largest expected difference between the object store's clock and this computer's."""

_COUNT: Final = (
    "with piece as (select clip, owner, received_s from clip where clip > %s order by clip"
    " limit %s) select count(*) filter (where owner is not null and received_s <= %s), max(clip)"
    " from piece"
)
"""One statement for all rows would run into its time-out, and hold back their cleaning."""

_log = logging.getLogger(__name__)


def repair(
    store: "FleetStore",
    verify: Callable[[bytes], Envelope],
    grace_s: int,
    wall_s: Callable[[], float] = time.time,
) -> int:
    """Repair; see ``FleetStore.repair``. Return the number of rows created.

    Args:
        store: its rows and objects; the caller holds the lock of the sweep.
        verify: verifies an envelope; raises ``BadEnvelope``.
        grace_s: age of an object below which it is not touched.
        wall_s: wall clock, in seconds since 1970.
    """
    until_s = wall_s() - grace_s + (0 if grace_s else _SKEW_S)
    created = matched = 0
    for piece in store.blobs.pieces():
        old = [item for item in piece if item.arrived_s <= until_s and item.is_named_by_id]
        rows = store.examine_piece(old)
        gone = []
        for item in old:
            record, has_valid_mac = rows.get(item.clip, (None, False))
            if record is None and has_valid_mac:
                gone.append((item.owner, item.clip))  # erased; a crash left the object
            elif record is None:
                created += _add_row(store, item, verify)
            else:
                matched += record.owner == item.owner
                if not has_valid_mac or record.owner != item.owner:
                    _check_row(store, item, verify)
        store.blobs.erase(gone)
        if gone:
            _log.warning("%s of erased clips had remained", quantity(len(gone), "object"))
    missing = _count_rows(store, until_s) - matched - created
    # Clips that are erased or stored during the listing make this smaller, not larger.
    if missing > 0:
        _log.warning("the objects of %s are missing", quantity(missing, "archived clip"))
    return created


def _count_rows(store: "FleetStore", until_s: float) -> int:
    """Return the number of clips that arrived until then, counted in pieces."""
    number, after = 0, ""
    while True:
        with store.database.connection() as connection:
            row = connection.execute(_COUNT, (after, MOST_ROWS, until_s)).fetchone()
        if row is None or row[1] is None:
            return number
        number += row[0]
        after = row[1]


def _add_row(store: "FleetStore", item: StoredObject, verify: Callable[[bytes], Envelope]) -> bool:
    data = store.blobs.read(item.key)
    if data is None:
        return False
    try:
        envelope = _verify_at(item, data, verify)
        return store.add_row(envelope, data, item.arrived_s)
    except Erased:
        store.blobs.erase([(item.owner, item.clip)])
    except Undecided:
        pass  # the next repair decides
    except (BadEnvelope, Replayed) as error:
        _log.warning("moved an object that is not a clip of this archive to quarantine: %s", error)
        store.quarantine_file(item.owner, item.clip)
    return False


def _check_row(
    store: "FleetStore",
    item: StoredObject,
    verify: Callable[[bytes], Envelope],
) -> None:
    """Write a row anew from its verified object, if its MAC or its owner is wrong."""
    data = store.blobs.read(item.key)
    if data is None:
        return
    try:
        store.refresh_row(_verify_at(item, data, verify), data)
    except (BadEnvelope, Replayed) as error:
        _log.warning("an index row does not match its object, which does not verify: %s", error)


def _verify_at(item: StoredObject, data: bytes, verify: Callable[[bytes], Envelope]) -> Envelope:
    envelope = verify(data)
    if (envelope.header.owner, envelope.header.clip) != (item.owner, item.clip):
        raise BadEnvelope("its name differs from its header")
    return envelope
