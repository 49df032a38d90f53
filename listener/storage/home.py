"""Data directory of one installation: signing keys, sequence number and roster, written durably.

A file here is whole after a power cut. A damaged file is an error and never created anew: a key or
a sequence number that restarts silently would make the archive refuse or confuse clips.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.envelope import keys
from listener.errors import ConfigError
from listener.owner import roster as rosters
from listener.owner.roster import Roster
from listener.storage.atomic import (
    LOCK_PATIENCE_S,
    PUBLIC_MODE,
    SECRET_MODE,
    hold_lock,
    make_folder,
    open_plain_file,
    read_plain_file,
    translate_os_errors,
    write_atomic,
)
from listener.storage.reserve import Reserve
from listener.voice.consent_table import (
    LONGEST_TABLE_BYTES,
    ConsentTable,
    parse_table,
    render_table,
)

CONSENT_TABLE: Final = "consent.json"
"""File of the owners' consents to voice control, on a speaker; hear alone can read it."""
WITHDRAWAL_TABLE: Final = "consent-off.json"
"""File of those consents that are off, of the same format: a damaged ``consent.json`` ends none."""
ASSIST_KEY: Final = "assist.key"
"""File of the service key of assist."""
ARCHIVE_PIN: Final = "archive.pub"
"""File of the archive's public key, pinned when this machine joined the household."""
PUBLIC: Final = "public"
"""Folder for a copy of the roster that other services may read; or a link to one."""
_SHARED_MODE: Final = 0o640
_SEQUENCE_LIMIT: Final = 999_999_999_999
_NEW_DEVICE: Final = "remove device.key there to make this a new device, then register it again"
_SMALL_BYTES: Final = 4 << 10
"""Limit of a key file, and of the sequence number."""
_ROSTER_BYTES: Final = 4 << 20


class Home:
    """One installation's data directory. Constructing it touches no file.

    Safe for use by several threads and processes: each change holds the directory's lock.

    Args:
        path: the directory; created by the first change.
        patience_s: longest wait for another process that holds the directory's lock, in seconds.

    Raises:
        Unavailable: from every method, when the disk is full, missing or not accessible, or
            another process does not release the lock.
    """

    def __init__(self, path: Path, patience_s: float = LOCK_PATIENCE_S) -> None:
        self.path = path
        self._patience_s = patience_s
        self._key = path / "device.key"
        self._archive_key = path / "archive.key"
        self._archive_pin = path / ARCHIVE_PIN
        self._assist_key = path / ASSIST_KEY
        self._sequence = path / "sequence"
        self._roster = path / "roster.json"
        self._consents = path / CONSENT_TABLE
        self._withdrawals = path / WITHDRAWAL_TABLE

    def device_key(self) -> Ed25519PrivateKey:
        """Return the key this device signs with; the first call creates it.

        Raises:
            ConfigError: it can be read by others, or it is damaged. It is never replaced.
        """
        with self._locked():
            return self._load_or_create_device_key()

    def is_speaker(self) -> bool:
        """Return whether this directory has a device's key; creates none."""
        return self._key.exists()

    def archive_key(self) -> Ed25519PrivateKey:
        """Return the key this archive signs receipts with; the first call creates it.

        Raises:
            ConfigError: it can be read by others, or it is damaged. It is never replaced.
        """
        with self._locked():
            return _load_or_create_key(self._archive_key)

    def assist_key(self) -> Ed25519PrivateKey:
        """Return the service key that assist signs with; the first call creates it.

        Raises:
            ConfigError: it can be read by others, or it is damaged. It is never replaced.
        """
        with self._locked():
            return _load_or_create_key(self._assist_key)

    def pinned_archive(self) -> Ed25519PublicKey | None:
        """Return the pinned public key of the archive, or None where none was pinned.

        Raises:
            ConfigError: the file is damaged.
        """
        with translate_os_errors(self._archive_pin):
            try:
                text = read_plain_file(self._archive_pin, _SMALL_BYTES).decode("ascii", "replace")
            except FileNotFoundError:
                return None
        try:
            return keys.parse_device(text)
        except ConfigError as error:
            raise ConfigError(
                f"{self._archive_pin} is damaged",
                "join the household again with a new invitation, which contains the archive's key",
            ) from error

    def pin_archive(self, key: Ed25519PublicKey) -> None:
        """Pin this public key of the archive, in place of an earlier one."""
        with self._locked():
            text = f"{keys.device_text(key)}\n"
            write_atomic(self._archive_pin, text.encode("ascii"), PUBLIC_MODE)

    def pin_own_archive(self) -> None:
        """Pin the key of this home's own archive, unless one is pinned.

        A speaker in the same home has joined by no line, and verifies the archive's messages too.

        Raises:
            ConfigError: as ``archive_key``.
        """
        public = self.archive_key().public_key()
        if not self._archive_pin.exists():
            self.pin_archive(public)

    def next_seq(self) -> int:
        """Return the next sequence number of this device's key, from 1 to 999999999999.

        It is on the disk before it is returned: a kill may skip a number and never repeats one.

        Raises:
            ConfigError: the file is missing or damaged, or the numbers are used up.
        """
        with self._locked():
            seq = self._read_seq() + 1
            if seq > _SEQUENCE_LIMIT:
                raise ConfigError(
                    f"the sequence number {self._sequence} has reached its maximum", _NEW_DEVICE
                )
            write_atomic(self._sequence, b"%d\n" % seq, SECRET_MODE)
            return seq

    def skip_seqs(self, until: int, most: int) -> int:
        """Skip the sequence numbers up to one that was used before; return how many were skipped.

        Args:
            until: the next number will be above it; a lower one than the current changes nothing.
            most: largest number to skip at once, so that the numbers cannot be used up.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        with self._locked():
            seq = self._read_seq()
            skipped = min(until, _SEQUENCE_LIMIT, seq + most) - seq
            if skipped > 0:
                write_atomic(self._sequence, b"%d\n" % (seq + skipped), SECRET_MODE)
            return max(0, skipped)

    def roster(self) -> Roster:
        """Return owners and devices; an empty roster where there is no file.

        Raises:
            ConfigError: it is damaged.
        """
        with translate_os_errors(self._roster):
            try:
                data = read_plain_file(self._roster, _ROSTER_BYTES)
            except FileNotFoundError:
                return Roster()
        return rosters.parse(data, str(self._roster))

    def keeper(self, name: str | None, *, needs_proof: bool = True) -> str:
        """Return the keeper's name, after a check that clips can be sealed to their key.

        Args:
            name: the configured name, ``attribution.keeper``.
            needs_proof: False to accept an owner who has not confirmed their key.

        Raises:
            ConfigError: none is configured, the owner is not in the roster or has not confirmed
                their key, or the roster is damaged.
        """
        if name is None:
            raise ConfigError(
                "no keeper is configured",
                "add and confirm an owner (earmark owner add), then set attribution.keeper or pass"
                " --keeper NAME; without any key, earmark monitor --listen prints wakes, and"
                " earmark survey records scores",
            )
        owner = self.roster().owner(name)
        if owner is None:
            import difflib  # noqa: PLC0415 - only for this message; hear's memory is limited

            names = [each.name for each in self.roster().owners]
            if near := difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6):
                raise ConfigError(
                    f"the keeper {name!r} is not in the roster of {self.path}",
                    f"did you mean {near[0]}?",
                )
            raise ConfigError(
                f"the keeper {name!r} is not in the roster of {self.path}",
                f"run earmark owner add {name} --key age1…, then earmark owner challenge {name}",
            )
        if not owner.active and needs_proof:
            raise ConfigError(
                f"the keeper {name} has not confirmed their key",
                f"run earmark owner challenge {name}, then earmark owner confirm with the answer",
            )
        return name

    def change_roster(self, edit: Callable[[Roster], Roster]) -> Roster:
        """Replace the roster by what ``edit`` returns, and return that.

        Args:
            edit: called with the directory locked, so that no other edit is lost; if it raises, the
                roster is unchanged.

        Raises:
            ConfigError: it is damaged.
        """
        with self._locked():
            before = self.roster()
            after = edit(before)
            if after != before:
                write = partial(write_atomic, self._roster, rosters.render(after), SECRET_MODE)
                # The archive's home has a reserve: an owner's new key must not wait for room.
                Reserve(self.path).run(write)
                self._publish_roster(after)
            return after

    def publish_roster(self) -> None:
        """Bring the copy of the roster for other services up to date, where they have a folder.

        Raises:
            ConfigError: the roster is damaged.
        """
        with self._locked():
            self._publish_roster(self.roster())

    def _publish_roster(self, roster: Roster) -> None:
        """Write the copy. The caller holds the lock."""
        folder = self.path / PUBLIC
        if not folder.is_dir():
            return
        data = rosters.render(roster.without_challenges())
        with contextlib.suppress(OSError):  # whatever is there, it is replaced
            if read_plain_file(folder / self._roster.name, _ROSTER_BYTES) == data:
                return
        write_atomic(folder / self._roster.name, data, _SHARED_MODE)

    def consents(self) -> ConsentTable:
        """Return the consents that this speaker keeps; an empty table where there is no file.

        Raises:
            ConfigError: a file is damaged.
        """
        return _read_table(self._consents).with_withdrawals(_read_table(self._withdrawals))

    def change_consents(self, edit: Callable[[ConsentTable], ConsentTable]) -> ConsentTable:
        """Replace the consents by what ``edit`` returns, and return that.

        Args:
            edit: called with the directory locked, so that no other edit is lost; if it raises, the
                consents are unchanged.

        Raises:
            ConfigError: a file is damaged.
        """
        with self._locked():
            before = self.consents()
            after = edit(before)
            if after != before:
                # First: between the two, an off already counts, and an on does not yet.
                off = after.withdrawals()
                if off.kept or self._withdrawals.exists():
                    write_atomic(self._withdrawals, render_table(off), SECRET_MODE)
                write_atomic(self._consents, render_table(after), SECRET_MODE)
            return after

    def _read_seq(self) -> int:
        """Return the last number that was used. The caller holds the lock."""
        self._load_or_create_device_key()
        try:
            text = read_plain_file(self._sequence, _SMALL_BYTES)
        except FileNotFoundError as error:
            raise ConfigError(
                f"the sequence number {self._sequence} is missing", _NEW_DEVICE
            ) from error
        digits = text[:-1]
        if not (text.endswith(b"\n") and digits.isdigit() and len(digits) <= 12):  # noqa: PLR2004 - as _SEQUENCE_LIMIT
            raise ConfigError(f"the sequence number {self._sequence} is damaged", _NEW_DEVICE)
        return int(digits)

    def _load_or_create_device_key(self) -> Ed25519PrivateKey:
        if not self._key.exists():
            # The sequence number first: a key without one is a loss, not a new device.
            write_atomic(self._sequence, b"0\n", SECRET_MODE)
        return _load_or_create_key(self._key)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with translate_os_errors(self.path):
            make_folder(self.path)
            with hold_lock(self.path / "lock", self._patience_s):
                yield


def _read_table(path: Path) -> ConsentTable:
    with translate_os_errors(path):
        try:
            data = read_plain_file(path, LONGEST_TABLE_BYTES)
        except FileNotFoundError:
            return ConsentTable()
    return parse_table(data, str(path))


def _load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """Return a private key; create it where it is missing. Call with the directory locked."""
    try:
        return _read_key(path)
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        write_atomic(path, keys.device_pem(key), SECRET_MODE)
        return key


def _read_key(path: Path) -> Ed25519PrivateKey:
    # Opened first and checked afterwards, so that it cannot be replaced in between.
    with open_plain_file(path) as stream:
        if os.fstat(stream.fileno()).st_mode & 0o077:
            raise ConfigError(
                f"the signing key {path} can be read by others",
                f"replace the key if others may have read it; otherwise chmod 600 {path}",
            )
        return keys.parse_device_pem(stream.read(_SMALL_BYTES), str(path))
