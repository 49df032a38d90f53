"""The state of each archive process's clock in the database; see ``archive_clock``.

A process changes the times of the clips that it received, and of no other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from listener.archive.elapsed_time import Shift
from listener.archive.fleet.postgres import Postgres
from listener.archive.records import ClipRecord, RowMac

_SELECT: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code from clip"
)


class ClockRows:
    """Clock of one process; see ``TimeStore``. Safe for several threads.

    Args:
        database: the database.
        instance: name of the process.
        row_mac: MAC of the state and of the clips' rows.

    Raises:
        Unavailable: from each method, if the database cannot be used.
    """

    def __init__(self, database: Postgres, instance: str, row_mac: RowMac) -> None:
        self._database = database
        self._instance = instance
        self._row_mac = row_mac

    def load_time(self) -> bytes | None:
        """Return the stored state; None without one that has a valid MAC."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select state, start, code from clock where instance = %s", (self._instance,)
            ).fetchone()
        if row is None or self._compute(row[0], row[1]) != row[2]:
            return None
        return str(row[0]).encode()

    def save_time(
        self, state: bytes, start: int, *, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> None:
        """Store the state and change the times of this process's clips, all or nothing."""
        text = state.decode()
        everywhere = (Shift(0, start, relabel_s),) if relabel_s else ()
        with self._database.transaction() as connection:
            connection.execute(
                "insert into clock values (%s, %s, %s, %s) on conflict (instance) do update"
                " set state = excluded.state, start = excluded.start, code = excluded.code",
                (self._instance, text, start, self._compute(text, start)),
            )
            for shift in (*shifts, *everywhere):
                rows = connection.execute(
                    f"{_SELECT} where instance = %s and owner is not null"
                    " and start between %s and %s order by clip for update",
                    (self._instance, shift.first, shift.last),
                ).fetchall()
                with connection.cursor() as cursor:
                    cursor.executemany(
                        "update clip set received_s = %s, expires_s = %s, code = %s"
                        " where clip = %s",
                        [self._shift(row, shift.by_s) for row in rows],
                    )

    def _shift(self, row: Sequence[Any], by_s: int) -> tuple[int, int, str, str]:
        *values, code = row
        old = ClipRecord(*values)
        new = replace(old, received_s=old.received_s + by_s, expires_s=old.expires_s + by_s)
        is_valid = self._row_mac.compute(old) == code
        return (
            new.received_s,
            new.expires_s,
            self._row_mac.compute(new) if is_valid else "",
            old.clip,
        )

    def newest_arrival(self) -> int | None:
        """Return the latest arrival of a clip in this process; None without clips."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select max(received_s) from clip where instance = %s and owner is not null",
                (self._instance,),
            ).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def newest_start(self) -> int:
        """Return the largest number of a start of the computer that a clip belongs to."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select coalesce(max(start), 0) from clip where instance = %s and owner is not"
                " null",
                (self._instance,),
            ).fetchone()
        return 0 if row is None else int(row[0])

    def take_confirmation(self) -> bytes | None:
        """Return and remove a person's confirmation of this process's clock."""
        with self._database.connection() as connection:
            row = connection.execute(
                "delete from clock_confirmation where instance = %s returning reading",
                (self._instance,),
            ).fetchone()
        return None if row is None else str(row[0]).encode()

    def add_confirmation(self, reading: bytes) -> None:
        """Store a person's confirmation of this process's clock."""
        with self._database.connection() as connection:
            connection.execute(
                "insert into clock_confirmation values (%s, %s) on conflict (instance) do update"
                " set reading = excluded.reading",
                (self._instance, reading.decode()),
            )

    def _compute(self, state: str, start: int) -> str:
        return self._row_mac.compute_bytes(f"time {self._instance} {start} {state}".encode())
