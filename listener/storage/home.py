"""The folder of one installation: the device's key, its sequence and the roster, written durably.

What is written here survives a power cut whole or not at all. What is damaged is never made anew
in silence: a key or a number that quietly restarts would be a lie told to the archive.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.envelope import keys
from listener.errors import ConfigError
from listener.owner import roster as rosters
from listener.owner.roster import Roster
from listener.storage.atomic import (
    PUBLIC_MODE,
    SECRET_MODE,
    hold_lock,
    make_folder,
    translate_os_errors,
    write_atomic,
)

ARCHIVE_PIN: Final = "archive.pub"
"""The archive's public key, as the line by which this machine joined named it."""
_SEQUENCE_LIMIT: Final = 999_999_999_999


class Home:
    """One installation's folder. Making the object touches nothing.

    Safe for use by several threads and processes: what changes a file holds the folder's lock.

    Raises:
        Unavailable: from every method, when the disk is full, missing or not ours to use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = path / "device.key"
        self._archive_key = path / "archive.key"
        self._archive_pin = path / ARCHIVE_PIN
        self._sequence = path / "sequence"
        self._roster = path / "roster.json"

    def device_key(self) -> Ed25519PrivateKey:
        """Return the key this device signs with; the first call ever makes it.

        Raises:
            ConfigError: it can be read by others, or it is damaged. It is never replaced.
        """
        with self._locked():
            return self._load_or_create_key()

    def archive_key(self) -> Ed25519PrivateKey:
        """Return the key this archive signs receipts with; the first call ever makes it.

        Raises:
            ConfigError: it can be read by others, or it is damaged. It is never replaced.
        """
        with self._locked():
            try:
                return _read_key(self._archive_key)
            except FileNotFoundError:
                key = Ed25519PrivateKey.generate()
                write_atomic(self._archive_key, keys.device_pem(key), SECRET_MODE)
                return key

    def pinned_archive(self) -> Ed25519PublicKey | None:
        """Return the key of the archive that this machine belongs to, if it was ever told.

        Raises:
            ConfigError: what it was told is damaged.
        """
        with translate_os_errors(self._archive_pin):
            try:
                text = self._archive_pin.read_text("ascii", "replace")
            except FileNotFoundError:
                return None
        try:
            return keys.parse_device(text)
        except ConfigError as error:
            raise ConfigError(
                f"{self._archive_pin} is damaged",
                "join again with a new line, which names the archive's key",
            ) from error

    def pin_archive(self, key: Ed25519PublicKey) -> None:
        """Believe this key of the archive from now on, whatever was believed before."""
        with self._locked():
            text = f"{keys.device_text(key)}\n"
            write_atomic(self._archive_pin, text.encode("ascii"), PUBLIC_MODE)

    def next_seq(self) -> int:
        """Return a number that this device's key never had before, from 1 on.

        It is on the disk before it is returned; after a kill it may be skipped, never repeated.

        Raises:
            ConfigError: the last one is lost or damaged, so that the next cannot be known.
        """
        hint = f"remove {self._key.name} there to make this a new device, and make it known again"
        with self._locked():
            self._load_or_create_key()
            try:
                text = self._sequence.read_bytes()
            except FileNotFoundError as error:
                raise ConfigError(f"the sequence {self._sequence} is missing", hint) from error
            digits = text[:-1]
            if not (text.endswith(b"\n") and digits.isdigit() and len(digits) <= 12):  # noqa: PLR2004 - as _SEQUENCE_LIMIT
                raise ConfigError(f"the sequence {self._sequence} is damaged", hint)
            seq = int(digits) + 1
            if seq > _SEQUENCE_LIMIT:
                raise ConfigError(f"the sequence {self._sequence} is used up", hint)
            write_atomic(self._sequence, b"%d\n" % seq, SECRET_MODE)
            return seq

    def roster(self) -> Roster:
        """Return owners and devices; an empty roster where none was written yet.

        Raises:
            ConfigError: it is damaged.
        """
        with translate_os_errors(self._roster):
            try:
                data = self._roster.read_bytes()
            except FileNotFoundError:
                return Roster()
        return rosters.parse(data, str(self._roster))

    def keeper(self, name: str | None) -> str:
        """Return the keeper's name, once it is sure that clips can be made for her.

        Args:
            name: as the settings have it.

        Raises:
            ConfigError: there is none, she is not in the roster, or has not confirmed her key; or
                the roster is damaged.
        """
        if name is None:
            raise ConfigError(
                "this device has no keeper, so no clip could be made",
                "earmark owner add NAME --key age1…, let her confirm it, then"
                " earmark hear --keeper NAME or attribution.keeper",
            )
        owner = self.roster().owner(name)
        if owner is None:
            raise ConfigError(
                f"the keeper {name!r} is not in the roster of {self.path}",
                f"earmark owner add {name} --key age1…, then earmark owner challenge {name}",
            )
        if not owner.active:
            raise ConfigError(
                f"the keeper {name} has not confirmed her key yet",
                f"earmark owner challenge {name}, and she answers with earmark owner confirm",
            )
        return name

    def change_roster(self, edit: Callable[[Roster], Roster]) -> Roster:
        """Replace the roster by what ``edit`` makes of it, and return that.

        Args:
            edit: called with the folder locked, so that no other edit is lost; whatever it raises
                leaves the roster as it was.

        Raises:
            ConfigError: it is damaged.
        """
        with self._locked():
            before = self.roster()
            after = edit(before)
            if after != before:
                write_atomic(self._roster, rosters.render(after), SECRET_MODE)
            return after

    def _load_or_create_key(self) -> Ed25519PrivateKey:
        try:
            return _read_key(self._key)
        except FileNotFoundError:
            # First the sequence: a key without one is a loss, and must not look like a start.
            write_atomic(self._sequence, b"0\n", SECRET_MODE)
            key = Ed25519PrivateKey.generate()
            write_atomic(self._key, keys.device_pem(key), SECRET_MODE)
            return key

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with translate_os_errors(self.path):
            make_folder(self.path)
            with hold_lock(self.path / "lock"):
                yield


def _read_key(path: Path) -> Ed25519PrivateKey:
    # Opened first and looked at afterwards, so that nobody can swap it in between.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(file, "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise ConfigError(
                f"the signing key {path} can be read by others",
                f"who read it can sign with it; if nobody did: chmod 600 {path}",
            )
        return keys.parse_device_pem(stream.read(), str(path))
