"""Challenge for an owner's key, carried to the owner and back on the boot partition.

Unlike that of ``earmark owner challenge``, it has no time limit: the clock of a Raspberry Pi that
was never online is at the date of its image.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.envelope.format import Sha256
from listener.errors import ConfigError, EarmarkError
from listener.firstboot.plan import OwnerRequest
from listener.owner.challenge import make_challenge
from listener.owner.roster import Roster
from listener.storage.atomic import read_plain_file, write_atomic
from listener.storage.home import Home

FILE: Final = "challenge.json"
_LONGEST_BYTES: Final = 64 << 10


class OpenChallenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Challenge that was not answered yet, as in the file."""

    v: int = 1
    owner: ShortName
    recipient: str
    sha256: Sha256
    """SHA-256 of the answer, which is not stored."""
    text: Annotated[str, Meta(max_length=4096)] = msgspec.field(name="riddle")
    """The challenge, encrypted to the owner's key."""


class OwnerChallenge:
    """Open challenge of one installation. One process at a time.

    Args:
        folder: existing folder for its file.
        home: data directory with the roster.
    """

    def __init__(self, folder: Path, home: Home) -> None:
        self._path: Final = folder / FILE
        self._home: Final = home

    def open(self) -> OpenChallenge | None:
        """Return the challenge that waits for its answer, or None.

        A damaged file is ignored; a new challenge replaces it.
        """
        try:
            data = read_plain_file(self._path, _LONGEST_BYTES)
            return msgspec.json.decode(data, type=OpenChallenge)
        except (FileNotFoundError, ValueError, RecursionError):
            return None

    def note(self, name: str, recipient: str) -> bool:
        """Add an owner and their key; return whether the owner is active already.

        Raises:
            EarmarkError: the owner is active with another key, or another owner has the key.
        """

        def edit(roster: Roster) -> Roster:
            known = roster.owner(name)
            if known is not None and not known.active and known.recipient != recipient:
                # The first key was never confirmed, so it can be corrected.
                roster = roster.without_owner(name)
            return roster.with_owner(name, recipient)

        return self._home.change_roster(edit).known_owner(name).active

    def challenge(self, name: str, recipient: str) -> OpenChallenge:
        """Return the challenge for a key; the same one until it is answered."""
        pending = self.open()
        if pending is not None and (pending.owner, pending.recipient) == (name, recipient):
            return pending
        answer, text = make_challenge(name, recipient)
        fresh = OpenChallenge(owner=name, recipient=recipient, sha256=_digest(answer), text=text)
        write_atomic(self._path, msgspec.json.encode(fresh))
        return fresh

    def answer(self, request: OwnerRequest, now_s: int) -> str:
        """Verify an answer and activate the owner's key; return the owner's name.

        Args:
            request: with an answer.
            now_s: this machine's time, in seconds since 1970.

        Raises:
            EarmarkError: the answer is wrong, or there is no challenge.
        """
        pending = self.open()
        answer = (request.answer or "").strip()
        if pending is None:
            name = answer.partition(":")[0] if request.name is None else request.name
            owner = self._home.roster().owner(name)
            if owner is not None and owner.active:
                return name
            raise EarmarkError(
                "there is an answer but no challenge", "give owner.name and owner.key first"
            )
        if request.name not in {None, pending.owner}:
            raise EarmarkError(f"the challenge is for {pending.owner}, not for {request.name}")
        if not hmac.compare_digest(_digest(answer), pending.sha256):
            raise EarmarkError(
                f"this is not {pending.owner}'s answer to the challenge on this card",
                "copy the whole line that age -d prints; it begins with the owner's name",
            )

        def edit(roster: Roster) -> Roster:
            owner = roster.known_owner(pending.owner)
            if owner.recipient != pending.recipient:
                raise ConfigError(f"the key of {pending.owner} was changed after the challenge")
            if owner.active:
                return roster
            return roster.with_challenge(pending.owner, answer, now_s).with_confirmation(
                pending.owner, answer, now_s
            )

        self._home.change_roster(edit)
        return pending.owner

    def close(self, name: str) -> None:
        """Remove the challenge of an owner who is active."""
        pending = self.open()
        if pending is not None and pending.owner == name:
            self._path.unlink()


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "replace")).hexdigest()
