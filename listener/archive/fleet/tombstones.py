"""Tombstones in the database, and their copy in the object store.

Each erasure writes its tombstones to an object of their own, ``tombstones/<number>-<random>``,
before the erased envelopes are deleted. No such object is ever changed or deleted by the archive.
A database that is restored from a backup lacks the tombstones written since; each new connection
compares the objects with the database and adds what is missing, before anything is read. So no
restoration brings an erased clip back.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import obstore

from listener.archive.fleet.object_blobs import ObjectBlobs, translate_object_errors
from listener.archive.fleet.postgres import PgConnection
from listener.archive.owner_state import Tombstone
from listener.errors import Unavailable

AREA: Final = "tombstones"
MOST_ROWS: Final = 500
"""Rows of one transaction."""
_MARGIN: Final = 1000
"""Numbers below the last one that may still be in writing, or skipped by a crash of the server."""
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


class TombstoneExport:
    """The copy of the tombstones in the object store. Safe for several threads.

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

    def import_missing(self, connection: PgConnection) -> int:
        """Add the tombstones that the database lacks; return the number of objects read.

        Args:
            connection: a new connection, not in a transaction.
        """
        imported = 0
        for name, number in self._unknown(connection):
            tombstones = self._read(name)
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

    def prune(self, connection: PgConnection) -> None:
        """Forget the names of objects that no later comparison needs."""
        connection.execute(
            "delete from imported_export where name < %s", (_name_before(_last_number(connection)),)
        )

    def _unknown(self, connection: PgConnection) -> Iterator[tuple[str, int]]:
        """Yield name and number of each object that the database has not imported."""
        after = _name_before(_last_number(connection))
        with translate_object_errors():
            for piece in obstore.list(
                self._blobs.objects, f"{AREA}/", offset=after, chunk_size=MOST_ROWS
            ):
                names = [meta["path"] for meta in piece]
                rows = connection.execute(
                    "select name from imported_export where name = any(%s)", (names,)
                ).fetchall()
                known = {name for (name,) in rows}
                for name in names:
                    number = name.removeprefix(f"{AREA}/").partition("-")[0]
                    if name not in known and number.isdecimal():
                        yield name, int(number)

    def _read(self, name: str) -> list[Tombstone]:
        with translate_object_errors():
            data = bytes(obstore.get(self._blobs.objects, name).bytes())
        try:
            return msgspec.json.decode(data, type=list[Tombstone])
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                f"the object {name} is not a list of tombstones",
                "restore it from a copy of the bucket; without it an erased clip could return",
            ) from error


def _last_number(connection: PgConnection) -> int:
    row = connection.execute("select last_value from export_number").fetchone()
    return 0 if row is None else int(row[0])


def _name_before(number: int) -> str:
    """Return a name before which every object is known."""
    return f"{AREA}/{max(0, number - _MARGIN):015d}"
