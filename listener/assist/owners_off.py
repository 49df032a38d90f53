"""Owners who said off: from then on, assist opens nothing of theirs and acts on nothing.

Assist obeys an "off" without its proof, which only the speaker can verify, so that it counts from
the moment that the speaker or assist has it. An "on" is never obeyed here. A later "on" shows in
the copies themselves: the speaker signs the number of the consent that it verified.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.errors import ConfigError, Unavailable, VoiceError
from listener.storage.atomic import read_plain_file, translate_os_errors, write_atomic
from listener.voice.consent import parse_consents

FILE: Final = "off.json"
MOST_ENTRIES: Final = 1024
_LONGEST_BYTES: Final = 128 << 10

_log = logging.getLogger(__name__)


class OffEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One owner's last "off" for one speaker."""

    owner: ShortName
    device: ShortName
    n: Annotated[int, Meta(ge=1, le=1 << 53)]
    """Number of the consent that said off."""


class OwnersOff:
    """The owners who said off, durable. For one writer; `is_off` is safe in any thread.

    Args:
        path: the file; created by the first "off".
        is_known: returns whether the roster has a pair of owner and device.

    Raises:
        ConfigError: the file is damaged. It is never replaced: that would be an "on".
        Unavailable: it cannot be read.
    """

    def __init__(self, path: Path, is_known: Callable[[str, str], bool]) -> None:
        self._path = path
        self._is_known = is_known
        self._off = self._read()

    def is_off(self, owner: str, device: str, n: int) -> bool:
        """Return whether an owner said off, for a speaker, after the consent of this number."""
        return n <= self._off.get((owner, device), 0)

    def update(self, device: str, payload: bytes) -> int:
        """Take the consents of a speaker from the broker; return how many new "off" are in it.

        Args:
            device: name of the speaker, from the topic.
            payload: any bytes are safe.
        """
        try:
            consents = parse_consents(payload) if payload else ()
        except VoiceError:
            return 0
        new = {
            (consent.owner, device): consent.n
            for consent in consents
            if not consent.on
            and consent.device == device
            and consent.n > self._off.get((consent.owner, device), 0)
            and self._is_known(consent.owner, device)
        }
        if new and len(self._off | new) <= MOST_ENTRIES:
            self._off = self._off | new
            self._write()
        return len(new)

    def _read(self) -> dict[tuple[str, str], int]:
        with translate_os_errors(self._path):
            try:
                data = read_plain_file(self._path, _LONGEST_BYTES)
            except FileNotFoundError:
                return {}
        try:
            entries = msgspec.json.decode(data, type=tuple[OffEntry, ...])
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{self._path} is damaged",
                "remove it, and let the owners say off again: earmark clips voice off",
            ) from error
        return {(entry.owner, entry.device): entry.n for entry in entries}

    def _write(self) -> None:
        entries = [
            OffEntry(owner=owner, device=device, n=n)
            for (owner, device), n in sorted(self._off.items())
        ]
        try:
            write_atomic(self._path, msgspec.json.encode(entries))
        except Unavailable as error:
            # It counts in memory; the broker keeps the message for the next start.
            _log.warning("cannot store that an owner said off: %s", error)
