"""The owner's record of the consents to voice control that they gave on this machine.

Earmark's client compares it with what the archive stores and what each speaker signed. It is kept
in ``<home>/clips/voice.json``, one entry for each owner and speaker.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.clips.trust_store import FOLDER
from listener.envelope.format import KeyId, ShortName
from listener.errors import ConfigError, Unavailable
from listener.storage.atomic import make_folders, read_plain_file, translate_os_errors, write_atomic
from listener.voice.consent import Consent
from listener.voice.fields import ConsentNumber, Flag, ServiceKey

_FILE: Final = "voice.json"
_LONGEST_BYTES: Final = 1 << 20


class GivenConsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last consent that an owner gave for one speaker."""

    assist: ServiceKey
    n: ConsentNumber
    okey: KeyId
    """Fingerprint of the owner's key that proves it."""
    on: Flag

    @classmethod
    def of(cls, consent: Consent) -> "GivenConsent":
        """Return the entry of a consent."""
        return cls(assist=consent.assist, n=consent.n, okey=consent.okey, on=consent.on)


class _RecordFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1
    owners: dict[ShortName, dict[ShortName, GivenConsent]] = {}


class VoiceRecord:
    """The record of one owner. For one thread.

    Args:
        home: folder of this installation.
        owner: name of the owner.

    Raises:
        ConfigError: the file is damaged.
        Unavailable: the file cannot be read.
    """

    def __init__(self, home: Path, owner: str) -> None:
        self._path = home / FOLDER / _FILE
        self._owner = owner
        self._stored = self._read()

    def consents(self) -> Mapping[str, GivenConsent]:
        """Return the last consent for each speaker, by name."""
        return self._stored.owners.get(self._owner, {})

    def add(self, consents: Mapping[str, GivenConsent]) -> None:
        """Save consents, by speaker, in place of earlier ones.

        Raises:
            Unavailable: they cannot be saved.
        """
        updated = {**self.consents(), **consents}
        stored = _RecordFile(owners=self._stored.owners | {self._owner: updated})
        with translate_os_errors(self._path):
            make_folders(self._path.parent)
        data = msgspec.json.encode(stored, order="sorted")
        write_atomic(self._path, msgspec.json.format(data, indent=2) + b"\n")
        self._stored = stored

    def _read(self) -> _RecordFile:
        try:
            data = read_plain_file(self._path, _LONGEST_BYTES)
        except FileNotFoundError:
            return _RecordFile()
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror}") from error
        try:
            return msgspec.json.decode(data, type=_RecordFile)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{self._path} is damaged",
                "remove it; the archive and the speakers still show the consents in force",
            ) from error
