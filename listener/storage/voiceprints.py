"""The voiceprints of a speaker's data directory: ``voiceprints/OWNER.json``, for hear alone.

The folder has mode 0700 and the files 0600: send, the player and the other services of the machine
run as other users and cannot read them.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener import digests
from listener.envelope import keys
from listener.owner.roster import Roster
from listener.storage.atomic import (
    PART,
    FileVersion,
    hold_lock,
    make_folder,
    read_plain_file,
    read_version,
    translate_os_errors,
    write_atomic,
)
from listener.storage.locations import VOICEPRINTS
from listener.storage.overwrite import overwrite
from listener.voiceprint.record import (
    LONGEST_VOICEPRINT_BYTES,
    Voiceprint,
    VoiceprintRefused,
    encode_voiceprint,
    parse_voiceprint,
)

_NAME: Final = re.compile(r"([a-z0-9-]{1,32})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class LoadedVoiceprints:
    """The voiceprints of a speaker, accepted and refused."""

    accepted: dict[str, Voiceprint]
    """By owner, in the order of their names."""
    refused: tuple[VoiceprintRefused, ...]
    """One error for each file that is not used, in the order of the owners' names."""


class VoiceprintStore:
    """The voiceprints below one data directory. Constructing it touches no file.

    Safe for several threads and processes: each change holds the directory's lock, and each file
    is whole after a power cut.

    Args:
        home: the data directory.

    Raises:
        Unavailable: from every method, when the folder cannot be read or written.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / VOICEPRINTS

    def names(self) -> tuple[str, ...]:
        """Return the owners who have a file, sorted; other files are skipped."""
        with translate_os_errors(self._folder):
            try:
                found = [_NAME.fullmatch(path.name) for path in self._folder.iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return ()
        return tuple(sorted(match[1] for match in found if match))

    def versions(self) -> tuple[tuple[str, FileVersion | None], ...]:
        """Return what changes when a voiceprint is written, replaced or erased."""
        return tuple((name, read_version(self._path(name))) for name in self.names())

    def load(self, roster: Roster, device: Ed25519PublicKey, model: str) -> LoadedVoiceprints:
        """Read every voiceprint, and verify it.

        Args:
            roster: the owners; a voiceprint of an owner who is missing or not active is refused.
            device: public key of this device.
            model: SHA-256 of this device's embedding model, in hex.
        """
        accepted: dict[str, Voiceprint] = {}
        refused = []
        for name in self.names():
            try:
                accepted[name] = self._read(name, roster, device, model)
            except VoiceprintRefused as error:
                refused.append(error)
        return LoadedVoiceprints(accepted, tuple(refused))

    def read(
        self, name: str, roster: Roster, device: Ed25519PublicKey, model: str
    ) -> Voiceprint | None:
        """Return an owner's verified voiceprint, or None if there is no file.

        Raises:
            VoiceprintRefused: the file is not used; see ``load``.
        """
        return self._read(name, roster, device, model) if name in self.names() else None

    def write(self, voiceprint: Voiceprint, key: Ed25519PrivateKey) -> None:
        """Sign a voiceprint and store it, in place of an earlier one of the same owner.

        Args:
            voiceprint: of this device.
            key: private key of this device.
        """
        data = encode_voiceprint(voiceprint, key)
        make_folder(self._home)
        with translate_os_errors(self._folder), hold_lock(self._home / "lock"):
            make_folder(self._folder)
            path = self._path(voiceprint.owner)
            old = _old_name(path)
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(path, old)
            write_atomic(path, data)
            overwrite([old])

    def erase(self, name: str) -> str | None:
        """Overwrite and remove an owner's voiceprint, whatever the file holds.

        Returns:
            SHA-256 of the file's content, in hex, empty if it could not be read; None if there was
            no file.
        """
        if name not in self.names():
            return None
        path = self._path(name)
        with translate_os_errors(path), hold_lock(self._home / "lock"):
            try:
                digest = digests.sha256(read_plain_file(path, LONGEST_VOICEPRINT_BYTES)).hex()
            except OSError:
                digest = ""
            overwrite([path, _old_name(path), path.with_name(f".{path.name}{PART}")])
        return digest

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str, roster: Roster, device: Ed25519PublicKey, model: str) -> Voiceprint:
        path = self._path(name)
        try:
            data = read_plain_file(path, LONGEST_VOICEPRINT_BYTES)
        except OSError as error:
            raise VoiceprintRefused(name, "form") from error
        owner = roster.owner(name)
        okeys = (
            {keys.owner_id(one) for one in owner.recipients}
            if owner is not None and owner.active
            else set()
        )
        return parse_voiceprint(data, name, okeys=okeys, device=device, model=model)


def _old_name(path: Path) -> Path:
    """Return the second name of a replaced file, by which it is overwritten."""
    return path.with_name(f".{path.name}.old")
