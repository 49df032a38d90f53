"""The trust store: pinned keys of archive and speakers, and the last log head (``known.json``).

The archive's key comes from the join line, if this machine joined by one. Every other key is
trusted on first use and pinned, as in ssh's ``known_hosts``: a different key for the same name, or
a log that does not contain the last head, is an error and not an update.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from listener.clips.schema import RetiredKey
from listener.envelope import keys
from listener.envelope.format import ShortName
from listener.envelope.verify import TrustedKey
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.rights.hash_chain import LogHead
from listener.rights.receipts import Receipt
from listener.storage.atomic import make_folders, read_plain_file, translate_os_errors, write_atomic
from listener.storage.home import Home

FOLDER: Final = "clips"
_FILE: Final = "known.json"
_LONGEST_BYTES: Final = 4 << 20
RECEIPT_LIMIT_BYTES: Final = 64 << 20
_MOST_RETIRED: Final = 2000

_log = logging.getLogger(__name__)


def receipt_name(receipt: Receipt) -> str:
    """Return the name of the file of a receipt, without its suffix."""
    return f"{receipt.kind}-{receipt.t.replace(':', '')}-{receipt.head.n}"


class _StoredTrust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    archive: str | None = None
    devices: dict[ShortName, Annotated[str, Meta(max_length=64)]] = {}
    retired: dict[str, RetiredKey] = {}
    """Pinned keys of removed speakers, by name and key."""
    head: LogHead | None = None


class TrustStore:
    """Store in ``<home>/clips/``. For one thread.

    Args:
        home: folder of this installation. If it has a roster, the roster's device keys take
            precedence over those that the archive reports.

    Raises:
        ConfigError: a file is damaged.
        Unavailable: a file cannot be read.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._path = self.folder / _FILE
        roster = Home(home).roster()
        self._roster = roster.device_keys()
        self._roster_signers = roster.stored_device_keys()
        self._pinned = Home(home).pinned_archive()
        self._stored = self._read()

    @property
    def head(self) -> LogHead | None:
        """The last verified log head, or None."""
        return self._stored.head

    @property
    def archive(self) -> Ed25519PublicKey | None:
        """The archive's public key: from the join line, else as pinned, or None."""
        if self._pinned is not None:
            return self._pinned
        return None if self._stored.archive is None else keys.parse_device(self._stored.archive)

    def devices(self) -> Mapping[str, Ed25519PublicKey]:
        """Return the public key of each speaker in use, by name."""
        pinned = {name: keys.parse_device(text) for name, text in self._stored.devices.items()}
        return {**pinned, **self._roster}

    def signers(self) -> dict[str, tuple[TrustedKey, ...]]:
        """Return the keys that may have signed a stored clip, retired ones too, by name."""
        found: dict[str, tuple[TrustedKey, ...]] = {
            name: (TrustedKey(key),) for name, key in self.devices().items()
        }
        for retired in self._stored.retired.values():
            found[retired.name] = (*found.get(retired.name, ()), retired.trusted())
        return found | self._roster_signers

    def knows_signer(self, name: str, dkey: str) -> bool:
        """Return True if a speaker of this name has a pinned key with this fingerprint."""
        return any(keys.device_id(one.key) == dkey for one in self.signers().get(name, ()))

    def pin_archive(self, archive: str) -> Ed25519PublicKey:
        """Pin the archive's key, or compare it with the pinned one; return it.

        Raises:
            ConfigError: it is not a valid key.
            EarmarkError: it differs from the pinned key.
            Unavailable: it cannot be saved.
        """
        key = keys.parse_device(archive)
        if self._pinned is not None:
            if key.public_bytes_raw() != self._pinned.public_bytes_raw():
                raise EarmarkError(
                    "this is not the archive of the household that this machine joined:"
                    " its key differs from the one in the join line",
                    "ask your household; if it set up a new archive, join again with a new line",
                )
        elif self._stored.archive is None:
            self._save(msgspec.structs.replace(self._stored, archive=archive))
        elif self._stored.archive != archive:
            raise EarmarkError(
                "this is not the archive that answered here before: its key is different",
                f"ask your household; if it set up a new archive, remove {self._path}"
                " and keep the receipts",
            )
        return key

    def pin_devices(self, devices: Mapping[str, str], retired: Iterable[RetiredKey] = ()) -> None:
        """Pin the speakers' keys, or compare them with the pinned ones.

        A key that the archive reports in place of a pinned one is accepted if the archive also
        reports the pinned one as retired; a warning names the speaker.

        Args:
            devices: text of the key of each speaker in use, by name.
            retired: keys of removed speakers.

        Raises:
            ConfigError: a key is not valid.
            EarmarkError: a key differs from the pinned one.
            Unavailable: they cannot be saved.
        """
        reported = {f"{one.name} {one.key}": one for one in retired}
        self.check_devices(devices, reported.values())
        for name, text in sorted(devices.items()):
            pinned = self._stored.devices.get(name, text)
            if text != pinned and f"{name} {text}" not in self._stored.retired:
                _log.warning(
                    "the archive reports that the key of %s was replaced;"
                    " if that speaker was not set up again, tell your household",
                    name,
                )
        updated = msgspec.structs.replace(
            self._stored,
            devices=self._stored.devices | dict(devices),
            retired=self._stored.retired | reported,
        )
        if len(updated.retired) > _MOST_RETIRED:
            raise EarmarkError(
                f"the archive reports more than {_MOST_RETIRED} keys of removed speakers",
                "tell your household",
            )
        if updated != self._stored:
            self._save(updated)

    def check_devices(self, devices: Mapping[str, str], retired: Iterable[RetiredKey] = ()) -> None:
        """Compare the speakers' keys with the pinned ones, without pinning any.

        Args:
            devices: text of the key of each speaker in use, by name.
            retired: keys of removed speakers.

        Raises:
            ConfigError: a key is not valid.
            EarmarkError: a key differs from the pinned one, which is not reported as retired.
        """
        trusted = self.devices()
        reported = {(one.name, keys.device_id(one.trusted().key)) for one in retired}
        for name, text in devices.items():
            dkey = keys.device_id(keys.parse_device(text))
            if (
                name in trusted
                and (name, keys.device_id(trusted[name])) not in {(name, dkey), *reported}
                # An older export lists a key that was in use when it was made.
                and not self.knows_signer(name, dkey)
            ):
                raise EarmarkError(
                    f"the archive reports another key for {name} than before",
                    f"if that speaker was set up again, remove {self._path};"
                    " otherwise tell your household",
                )

    def record_head(self, head: LogHead) -> None:
        """Save the head of a verified log, unless an equal or later one is stored.

        Raises:
            Unavailable: it cannot be saved.
        """
        if self._stored.head is None or head.n > self._stored.head.n:
            self._save(msgspec.structs.replace(self._stored, head=head))

    def save_receipt(self, name: str, data: bytes) -> Path:
        """Save a receipt as it was signed; return its path.

        Raises:
            Unavailable: it cannot be saved.
        """
        path = self._create("receipts") / f"{name}.json"
        write_atomic(path, data)
        return path

    def receipts(self) -> Iterator[bytes]:
        """Yield the saved receipts, unverified.

        Raises:
            Unavailable: one cannot be read.
        """
        for path in sorted((self.folder / "receipts").glob("*.json")):
            with translate_os_errors(path):
                data = read_plain_file(path, RECEIPT_LIMIT_BYTES)
            yield data

    def _read(self) -> _StoredTrust:
        try:
            data = read_plain_file(self._path, _LONGEST_BYTES)
        except FileNotFoundError:
            return _StoredTrust()
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror}") from error
        try:
            stored = msgspec.json.decode(data, type=_StoredTrust)
            for text in (*stored.devices.values(), *([stored.archive] if stored.archive else [])):
                keys.parse_device(text)
            for retired in stored.retired.values():
                retired.trusted()
        except (ValueError, RecursionError, ConfigError) as error:
            raise ConfigError(
                f"{self._path} is damaged",
                "remove it; the keys are pinned again at the next request",
            ) from error
        return stored

    def _save(self, stored: _StoredTrust) -> None:
        self._create()
        fields = msgspec.to_builtins(stored)
        if not stored.retired:
            del fields["retired"]  # versions before it refuse a field that they do not know
        write_atomic(self._path, msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n")
        self._stored = stored

    def _create(self, subfolder: str = "") -> Path:
        folder = self.folder / subfolder
        try:
            make_folders(folder)
        except OSError as error:
            raise Unavailable(f"cannot create {folder}: {error.strerror}") from error
        return folder
