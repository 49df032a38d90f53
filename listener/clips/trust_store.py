"""What this machine knows of the household: the archive's key, the speakers' keys, the log.

The archive's key is the one that the join line named, where this machine joined by one. Everything
else is believed when first seen, and held against the archive from then on: another key for the
same name, or a log that does not pass through where it once ended, is an error and not an update.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from listener.envelope import keys
from listener.envelope.format import ShortName
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.rights.hash_chain import LogHead
from listener.storage.atomic import write_atomic
from listener.storage.home import Home

FOLDER: Final = "clips"
_FILE: Final = "known.json"
_LONGEST_BYTES: Final = 4 << 20


class _StoredTrust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    archive: str | None = None
    devices: dict[ShortName, Annotated[str, Meta(max_length=64)]] = {}
    head: LogHead | None = None


class TrustStore:
    """What was seen, kept in ``<home>/clips/``. For one thread.

    Args:
        home: the folder of this installation. Where it has a roster, that is believed before
            anything the archive says about speakers.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._path = self.folder / _FILE
        self._roster = Home(home).roster().device_keys()
        self._pinned = Home(home).pinned_archive()
        self._kept = self._read()

    @property
    def head(self) -> LogHead | None:
        """Where the log ended when it was last seen."""
        return self._kept.head

    @property
    def archive(self) -> Ed25519PublicKey | None:
        """The archive's key: as the join line named it, else as it was first seen, if ever."""
        if self._pinned is not None:
            return self._pinned
        return None if self._kept.archive is None else keys.parse_device(self._kept.archive)

    def devices(self) -> Mapping[str, Ed25519PublicKey]:
        """Return the speakers' keys."""
        seen = {name: keys.parse_device(text) for name, text in self._kept.devices.items()}
        return {**seen, **self._roster}

    def pin_archive(self, archive: str) -> Ed25519PublicKey:
        """Note the archive's key, or hold it against the one that is known; return it.

        Raises:
            ConfigError: it is none.
            EarmarkError: it is another one.
            Unavailable: it cannot be kept.
        """
        key = keys.parse_device(archive)
        if self._pinned is not None:
            if key.public_bytes_raw() != self._pinned.public_bytes_raw():
                raise EarmarkError(
                    "this is not the archive of the household that this machine joined:"
                    " its key is another one than the line named",
                    "ask the household why; if it made its archive anew, join by a new line",
                )
        elif self._kept.archive is None:
            self._save(msgspec.structs.replace(self._kept, archive=archive))
        elif self._kept.archive != archive:
            raise EarmarkError(
                "this is not the archive that answered here before: its key is another one",
                "ask the household why; if it made its archive anew, remove"
                f" {self._path} and keep the receipts",
            )
        return key

    def pin_devices(self, devices: Mapping[str, str]) -> None:
        """Note the speakers' keys, or hold them against those that are known.

        Raises:
            ConfigError: one is none.
            EarmarkError: one is another than before.
            Unavailable: they cannot be kept.
        """
        self.check_devices(devices)
        seen = self._kept.devices | dict(devices)
        if seen != self._kept.devices:
            self._save(msgspec.structs.replace(self._kept, devices=seen))

    def check_devices(self, devices: Mapping[str, str]) -> None:
        """Hold the speakers' keys against those that are known, and note nothing.

        Raises:
            ConfigError: one is none.
            EarmarkError: one is another than before.
        """
        trusted = self.devices()
        for name, text in devices.items():
            if name in trusted and keys.device_text(trusted[name]) != text:
                raise EarmarkError(
                    f"the archive names another key for {name} than before",
                    f"if that speaker was made anew, remove {self._path};"
                    " otherwise believe no clip of it",
                )
            keys.parse_device(text)

    def record_head(self, head: LogHead) -> None:
        """Note where a log ended whose chain was checked.

        Raises:
            Unavailable: it cannot be kept.
        """
        if self._kept.head is None or head.n > self._kept.head.n:
            self._save(msgspec.structs.replace(self._kept, head=head))

    def save_receipt(self, name: str, data: bytes) -> Path:
        """Keep a receipt, as it was signed; return where.

        Raises:
            Unavailable: it cannot be kept.
        """
        path = self._create("receipts") / f"{name}.json"
        write_atomic(path, data)
        return path

    def _read(self) -> _StoredTrust:
        try:
            with self._path.open("rb") as file:
                data = file.read(_LONGEST_BYTES + 1)
        except FileNotFoundError:
            return _StoredTrust()
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror}") from error
        try:
            kept = msgspec.json.decode(data, type=_StoredTrust)
            for text in (*kept.devices.values(), *([kept.archive] if kept.archive else [])):
                keys.parse_device(text)
        except (ValueError, RecursionError, ConfigError) as error:
            raise ConfigError(
                f"{self._path} is damaged", "remove it; what was seen before is then seen anew"
            ) from error
        return kept

    def _save(self, kept: _StoredTrust) -> None:
        self._create()
        write_atomic(self._path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        self._kept = kept

    def _create(self, inside: str = "") -> Path:
        folder = self.folder / inside
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make {folder}: {error.strerror}") from error
        return folder
