"""Owners' settings in the database: retention limits, key rotations and consents."""

import threading
from collections.abc import Callable, Mapping, Sequence

from listener.archive.fleet.postgres import Postgres, bump_change
from listener.archive.owner_state import MOST_CARRIED, PendingConsent
from listener.archive.pending_messages import PendingMessage
from listener.errors import UsageError
from listener.mqtt.retention import RetentionLimit


class FleetOwnerState:
    """Owners' settings that several processes share; see ``OwnerRecords``.

    Args:
        database: the database.

    Raises:
        Unavailable: from each method, if the database cannot be used.
    """

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._sealers: frozenset[str] = frozenset()
        self._sealers_version = -1

    @property
    def version(self) -> int:
        """Number of changes, by all processes, of what devices are sent."""
        with self._database.connection() as connection:
            row = connection.execute("select n from change").fetchone()
        return 0 if row is None else int(row[0])

    def is_erased(self, clip: str) -> bool:
        """Return True if a clip was erased."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select 1 from clip where clip = %s and owner is null", (clip,)
            ).fetchone()
        return row is not None

    def set_retention(self, owner: str, days: int) -> None:
        """Set an owner's retention limit in days."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "insert into retention values (%s, %s, 1) on conflict (owner) do update"
                " set days = excluded.days, n = retention.n + 1"
                " where retention.days != excluded.days",
                (owner, days),
            )
            if changed.rowcount:
                bump_change(connection)

    def retention_of(self, owner: str) -> int | None:
        """Return an owner's retention limit in days; None without one."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select days from retention where owner = %s", (owner,)
            ).fetchone()
        return None if row is None else int(row[0])

    def retention_limits(self) -> list[RetentionLimit]:
        """Return the retention limits as published to devices."""
        with self._database.connection() as connection:
            rows = connection.execute("select owner, days, n from retention").fetchall()
        return [RetentionLimit(owner=owner, days=days, n=n) for owner, days, n in rows]

    def is_sealer(self, code: str) -> bool:
        """Return True if a device sealed a clip for an owner.

        Args:
            code: ``RowMac.compute_sealer``.
        """
        version = self.version
        with self._lock:
            if version != self._sealers_version:
                with self._database.connection() as connection:
                    rows = connection.execute("select distinct code from sealer").fetchall()
                self._sealers = frozenset(found for (found,) in rows)
                self._sealers_version = version
            return code in self._sealers

    def set_pending_keys(self, owner: str, messages: Mapping[str, str]) -> None:
        """Store an owner's key rotations to be published to devices, all or none."""
        with self._database.transaction() as connection:
            bump_change(connection)  # first: one process at a time
            for device, text in messages.items():
                connection.execute(
                    "insert into key_rotation (device, said, owner) values (%s, %s, %s)",
                    (device, text, owner),
                )
                connection.execute(
                    "delete from key_rotation where device = %(device)s and owner = %(owner)s"
                    " and id not in (select id from key_rotation where device = %(device)s"
                    " and owner = %(owner)s order by id desc limit %(most)s)",
                    {"device": device, "owner": owner, "most": MOST_CARRIED},
                )

    def pending_keys(self) -> dict[str, list[PendingMessage]]:
        """Return the stored key rotations by device, oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "select device, owner, said from key_rotation order by id"
            ).fetchall()
        messages: dict[str, list[PendingMessage]] = {}
        for device, owner, text in rows:
            messages.setdefault(device, []).append(PendingMessage(owner, text))
        return messages

    def devices_with_pending_key(self, owner: str, recipient: str) -> list[str]:
        """Return the devices to which a rotation to an owner's key is published, by name."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "select distinct device from key_rotation where owner = %s"
                " and said::jsonb ->> 'new' = %s order by device",
                (owner, recipient),
            ).fetchall()
        return [device for (device,) in rows]

    def set_consents(self, consents: Sequence[PendingConsent]) -> None:
        """Store consents to be published to devices, all or none.

        Raises:
            UsageError: a consent is not newer than the stored one.
        """
        with self._database.transaction() as connection:
            bump_change(connection)  # first: one process at a time
            for consent in consents:
                place = consent.owner, consent.device
                newer = connection.execute(
                    "select 1 from consent where owner = %s and device = %s and n >= %s",
                    (*place, consent.n),
                )
                if newer.fetchone() is not None:
                    raise UsageError(
                        f"the consent for {consent.device} is not newer than the stored one",
                        "give it a higher number: earmark clips voice does",
                    )
                # A new row and not an update: its id is the order of the owners' last changes.
                connection.execute("delete from consent where owner = %s and device = %s", place)
                connection.execute(
                    "insert into consent (owner, device, okey, dkey, n, said)"
                    " values (%s, %s, %s, %s, %s, %s)",
                    (*place, consent.okey, consent.dkey, consent.n, consent.text),
                )
                connection.execute(
                    "insert into consent_device values (%s) on conflict do nothing",
                    (consent.device,),
                )

    def consents(self) -> list[PendingConsent]:
        """Return the stored consents; the owner whose last change is oldest is first."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "select owner, device, okey, dkey, n, said from consent order by id"
            ).fetchall()
        return [PendingConsent(*row) for row in rows]

    def consent_devices(self) -> list[str]:
        """Return the devices to which a consent was ever to be published, by name."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "select device from consent_device order by device"
            ).fetchall()
        return [device for (device,) in rows]

    def remove_consents(self, is_void: Callable[[PendingConsent], bool]) -> int:
        """Remove the consents for which ``is_void`` returns True; return their number."""
        void = [one for one in self.consents() if is_void(one)]
        if not void:
            return 0
        removed = 0
        with self._database.transaction() as connection:
            for one in void:
                removed += connection.execute(
                    "delete from consent where owner = %s and device = %s and n = %s",
                    (one.owner, one.device, one.n),
                ).rowcount
            bump_change(connection)
        return removed
