"""Tombstones and erase orders in the database, and their copy in the object store.

Each erasure writes its tombstones to an object of their own, ``tombstones/<number>-<random>``,
before the erased envelopes are deleted. No such object is ever changed or deleted by the archive.
A database that is restored from a backup lacks the tombstones written since; each new connection
compares the objects with the database and adds what is missing, before anything is read. So no
restoration brings an erased clip back.

An erase order is copied in the same way, to ``orders/``, and its copy deleted when it has lapsed.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec
import obstore

from listener.archive.fleet.object_blobs import ObjectBlobs, translate_object_errors
from listener.archive.fleet.postgres import PgConnection
from listener.archive.owner_state import ORDER_LAPSES_S, Tombstone
from listener.errors import Unavailable

AREA: Final = "tombstones"
MOST_ROWS: Final = 500
"""Rows of one transaction."""
ORDERS: Final = "orders"
_MARGIN: Final = 1000
"""Numbers below the last one that may still be in writing, or skipped by a crash of the server."""
_Copy = TypeVar("_Copy")
_IMPORT_LOCK: Final = 0x6561_7204

_ERASE: Final = """
    with chosen as (
        select clip, owner from clip where clip = any(%s) and owner is not null
        order by clip for update
    ), erased as (
        update clip set owner = null, device = null, t = null, ttl_s = null, size_bytes = null,
            received_s = null, expires_s = null, code = null, instance = null, start = null
        from chosen where clip.clip = chosen.clip
        returning clip.clip, chosen.owner
    ), noted as (
        insert into doomed (clip, owner) select clip, owner from erased on conflict do nothing
    )
    select clip, owner from erased
"""


def erase_rows(
    connection: PgConnection, tombstones: Sequence[Tombstone], owner: str | None = None
) -> list[str]:
    """Turn the rows of clips into tombstones, and note their envelopes for deletion.

    Clips without a row get a tombstone, too.

    Args:
        connection: in a transaction.
        tombstones: of the clips, at most ``MOST_ROWS``.
        owner: under whom an envelope may be stored although no row names it, if anybody.

    Returns:
        The ids of the clips that had a row, each once over all processes.
    """
    ids = sorted({tombstone.clip for tombstone in tombstones})
    erased = connection.execute(_ERASE, (ids,)).fetchall()
    if owner is not None:
        connection.execute(
            "insert into doomed (clip, owner) select unnest(%s::text[]), %s on conflict do nothing",
            (ids, owner),
        )
    known = {clip for clip, _ in erased}
    others = [one for one in tombstones if one.clip not in known]
    if others:
        _insert_tombstones(connection, sorted(others, key=lambda one: one.clip))
    return [clip for clip, _ in erased]


def _insert_tombstones(connection: PgConnection, tombstones: Iterable[Tombstone]) -> None:
    rows = list(tombstones)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into clip (clip, sha256, ciphertext_sha256, dkey, seq)"
            " values (%s, %s, %s, nullif(%s, ''), nullif(%s, 0)) on conflict do nothing",
            [(one.clip, one.sha256, one.ciphertext_sha256, one.dkey, one.seq) for one in rows],
        )
        # Another clip has the number or the ciphertext: the id alone is refused.
        cursor.executemany(
            "insert into clip (clip, sha256) values (%s, %s) on conflict do nothing",
            [(one.clip, one.sha256) for one in rows],
        )


class OrderCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An erase order as it is copied."""

    owner: str
    device: str | None
    from_t: str
    until_t: str
    ordered_s: float
    """Time of the order by the database server's clock, seconds since 1970."""
    numbers: dict[str, int]
    """Highest number accepted before it, by device key."""


class TombstoneExport:
    """The copies in the object store. Safe for several threads.

    Args:
        blobs: the object store.

    Raises:
        Unavailable: from each method, if the object store cannot be used.
    """

    def __init__(self, blobs: ObjectBlobs) -> None:
        self._blobs = blobs

    def write(self, connection: PgConnection, tombstones: Sequence[Tombstone]) -> None:
        """Write tombstones durably, as one object, and note that the database has it."""
        row = connection.execute("select nextval('export_number')").fetchone()
        number = 0 if row is None else row[0]
        name = f"{AREA}/{number:015d}-{secrets.token_hex(8)}"
        with translate_object_errors():
            obstore.put(
                self._blobs.objects, name, msgspec.json.encode(list(tombstones)), mode="create"
            )
        connection.execute("insert into imported_export values (%s)", (name,))

    def write_order(self, connection: PgConnection, order: OrderCopy) -> None:
        """Write an erase order durably, and note that the database has it."""
        name = f"{ORDERS}/{int(order.ordered_s):015d}-{secrets.token_hex(8)}"
        with translate_object_errors():
            obstore.put(self._blobs.objects, name, msgspec.json.encode(order), mode="create")
        connection.execute("insert into imported_export values (%s)", (name,))

    def import_missing(self, connection: PgConnection) -> int:
        """Add the orders and tombstones that the database lacks; return the number of objects read.

        Args:
            connection: a new connection, not in a transaction.
        """
        imported = self._import_orders(connection)
        for name, number in self._unknown(connection):
            tombstones = self._decode(name, list[Tombstone])
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(%s)", (_IMPORT_LOCK,))
                for first in range(0, len(tombstones), MOST_ROWS):
                    erase_rows(connection, tombstones[first : first + MOST_ROWS])
                connection.execute(
                    "insert into imported_export values (%s) on conflict do nothing", (name,)
                )
                connection.execute(
                    "select setval('export_number', greatest(%s, (select last_value from"
                    " export_number)))",
                    (number,),
                )
            imported += 1
        return imported

    def _import_orders(self, connection: PgConnection) -> int:
        imported = 0
        with translate_object_errors():
            for piece in obstore.list(self._blobs.objects, f"{ORDERS}/", chunk_size=MOST_ROWS):
                for name in _without_known(connection, [meta["path"] for meta in piece]):
                    order = self._decode(name, OrderCopy)
                    with connection.transaction():
                        insert_order(connection, order)
                        connection.execute(
                            "insert into imported_export values (%s) on conflict do nothing",
                            (name,),
                        )
                    imported += 1
        return imported

    def prune(self, connection: PgConnection) -> None:
        """Delete the copies of lapsed orders, and forget names that no comparison needs."""
        connection.execute(
            "delete from imported_export where name >= %s and name < %s",
            (f"{AREA}/", _name_before(_last_number(connection))),
        )
        row = connection.execute("select extract(epoch from clock_timestamp())::bigint").fetchone()
        lapsed = f"{ORDERS}/{(0 if row is None else row[0]) - ORDER_LAPSES_S:015d}"
        with translate_object_errors():
            for piece in obstore.list(self._blobs.objects, f"{ORDERS}/", chunk_size=MOST_ROWS):
                self._blobs.delete([meta["path"] for meta in piece if meta["path"] < lapsed])
        connection.execute(
            "delete from imported_export where name >= %s and name < %s", (f"{ORDERS}/", lapsed)
        )

    def _unknown(self, connection: PgConnection) -> Iterator[tuple[str, int]]:
        """Yield name and number of each object that the database has not imported."""
        after = _name_before(_last_number(connection))
        with translate_object_errors():
            for piece in obstore.list(
                self._blobs.objects, f"{AREA}/", offset=after, chunk_size=MOST_ROWS
            ):
                for name in _without_known(connection, [meta["path"] for meta in piece]):
                    number = name.removeprefix(f"{AREA}/").partition("-")[0]
                    if number.isdecimal():
                        yield name, int(number)

    def _decode(self, name: str, kind: type[_Copy]) -> _Copy:
        with translate_object_errors():
            data = bytes(obstore.get(self._blobs.objects, name).bytes())
        try:
            return msgspec.json.decode(data, type=kind)
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                f"the object {name} is not a copy of tombstones or of an order",
                "restore it from a copy of the bucket; without it an erased clip could return",
            ) from error


def insert_order(connection: PgConnection, order: OrderCopy) -> None:
    """Insert an erase order; the connection is in a transaction."""
    row = connection.execute(
        "insert into erase_order (owner, device, from_t, until_t, ordered_s)"
        " values (%s, %s, %s, %s, %s) returning id",
        (order.owner, order.device, order.from_t, order.until_t, order.ordered_s),
    ).fetchone()
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into erase_order_number (erase_order, dkey, seq) values (%s, %s, %s)",
            [(row and row[0], dkey, seq) for dkey, seq in order.numbers.items()],
        )


def _without_known(connection: PgConnection, names: list[str]) -> list[str]:
    """Return the names of objects that the database has not imported."""
    rows = connection.execute(
        "select name from imported_export where name = any(%s)", (names,)
    ).fetchall()
    known = {name for (name,) in rows}
    return [name for name in names if name not in known]


def _last_number(connection: PgConnection) -> int:
    row = connection.execute("select last_value from export_number").fetchone()
    return 0 if row is None else int(row[0])


def _name_before(number: int) -> str:
    """Return a name before which every object is known."""
    return f"{AREA}/{max(0, number - _MARGIN):015d}"
