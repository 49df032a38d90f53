"""The owner's challenge, carried to her and back by the boot partition.

It has no time limit, unlike the one of ``earmark owner challenge``: a Raspberry Pi that was never
online believes in the day its image was made, and would take every answer for late, or none.
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
from listener.owner import challenge as riddle
from listener.owner.roster import Roster
from listener.storage.atomic import write_atomic
from listener.storage.home import Home

FILE: Final = "challenge.json"


class OpenChallenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A challenge that was not answered yet."""

    v: int = 1
    owner: ShortName
    recipient: str
    sha256: Sha256
    """Of the answer, which is kept nowhere."""
    riddle: Annotated[str, Meta(max_length=4096)]


class OwnerChallenge:
    """The open challenge of one installation.

    Args:
        folder: where it is noted; there already.
        home: the installation's folder, which has the roster.
    """

    def __init__(self, folder: Path, home: Home) -> None:
        self._path: Final = folder / FILE
        self._home: Final = home

    def open(self) -> OpenChallenge | None:
        """Return the challenge that waits for its answer.

        A damaged one is none: another is made in its place.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=OpenChallenge)
        except (FileNotFoundError, ValueError):
            return None

    def note(self, name: str, recipient: str) -> bool:
        """Note the owner and her key; say whether she is active already.

        Raises:
            EarmarkError: she is active with another key, or the key is somebody else's.
        """

        def edit(roster: Roster) -> Roster:
            known = roster.owner(name)
            if known is not None and not known.active and known.recipient != recipient:
                # Never confirmed: a slip of the first time is mended by the second.
                roster = roster.without_owner(name)
            return roster.with_owner(name, recipient)

        return self._home.change_roster(edit).known_owner(name).active

    def challenge(self, name: str, recipient: str) -> OpenChallenge:
        """Return the challenge for a key, the same until it is answered."""
        pending = self.open()
        if pending is not None and (pending.owner, pending.recipient) == (name, recipient):
            return pending
        answer, text = riddle.make_challenge(name, recipient)
        made = OpenChallenge(owner=name, recipient=recipient, sha256=_digest(answer), riddle=text)
        write_atomic(self._path, msgspec.json.encode(made))
        return made

    def answer(self, wish: OwnerRequest, now_s: int) -> str:
        """Take her answer; return whose key it made active.

        Args:
            wish: with an answer.
            now_s: seconds since 1970, as this machine believes.

        Raises:
            EarmarkError: it is wrong, or nobody asked.
        """
        pending = self.open()
        answer = (wish.answer or "").strip()
        if pending is None:
            name = answer.partition(":")[0] if wish.name is None else wish.name
            owner = self._home.roster().owner(name)
            if owner is not None and owner.active:
                return name
            raise EarmarkError("there is an answer, and no challenge", "give owner.name and key")
        if wish.name not in {None, pending.owner}:
            raise EarmarkError(f"the challenge is for {pending.owner}, and not for {wish.name}")
        if not hmac.compare_digest(_digest(answer), pending.sha256):
            raise EarmarkError(
                f"this is not {pending.owner}'s answer to the challenge on this card",
                "it is one line that begins with her name, as age -d prints it",
            )

        def edit(roster: Roster) -> Roster:
            owner = roster.known_owner(pending.owner)
            if owner.recipient != pending.recipient:
                raise ConfigError(f"{pending.owner} has another key by now")
            if owner.active:
                return roster
            return roster.with_challenge(pending.owner, answer, now_s).with_confirmation(
                pending.owner, answer, now_s
            )

        self._home.change_roster(edit)
        return pending.owner

    def close(self, name: str) -> None:
        """Forget the challenge of an owner who is active."""
        pending = self.open()
        if pending is not None and pending.owner == name:
            self._path.unlink()


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "replace")).hexdigest()
