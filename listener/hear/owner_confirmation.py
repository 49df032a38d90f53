"""Confirmation of owners through the household: challenges to them, and their answers.

A person adds an owner with their public key at this device. The challenge for that key, signed by
this device, is written into the spool, from which send publishes it; send stores the answers there
without verifying them. They are verified here: nothing that send, the broker or the household
writes names an owner, a key or a keeper.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.mqtt import owner_challenges
from listener.mqtt.owner_statement import read_statement, state_owner
from listener.owner.possession import MOST_CHALLENGES, PossessionChallenge
from listener.owner.records import CHALLENGE_S, Owner
from listener.owner.roster import Roster
from listener.spool.files import OWNER_ANSWERS, OWNER_CHALLENGES
from listener.storage.atomic import (
    FileVersion,
    make_folder,
    read_plain_file,
    read_version,
    translate_os_errors,
    write_shared,
)
from listener.storage.home import Home

RENEW_S: Final = CHALLENGE_S // 2
"""Age at which challenges are made anew, in seconds."""
LOOK_EVERY_S: Final = 5.0
_UPDATE_EVERY_S: Final = 3600.0
_MOST_ACTIVE: Final = 64


_log = logging.getLogger(__name__)


class OwnerConfirmation:
    """Challenges and answers of one device. For one thread, except `is_due`, for another one.

    Args:
        home: installation with the roster and the spool.
        device: name of this device.
        key: private key of this device.
        is_member: whether this device has joined a household; otherwise nothing is done.
        now_s: the time, in seconds since 1970.
    """

    def __init__(
        self,
        home: Home,
        device: str,
        key: Ed25519PrivateKey,
        *,
        is_member: bool,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._home: Final = home
        self._device: Final = device
        self._key: Final = key
        self.is_member: Final = is_member
        self._now_s: Final = now_s
        self._answers: Final = home.path / "spool" / OWNER_ANSWERS
        self._challenges: Final = home.path / "spool" / OWNER_CHALLENGES
        self._looked_s = float("-inf")
        self._due_s = float("-inf")
        self._seen: tuple[FileVersion | None, FileVersion | None] | None = None

    def is_due(self, now_s: float) -> bool:
        """Return whether `update` may have something to do; costs microseconds. Never raises.

        Args:
            now_s: monotonic clock, in seconds.
        """
        if not self.is_member or now_s - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        seen = read_version(self._answers), read_version(self._home.path / "roster.json")
        if seen == self._seen and now_s < self._due_s:
            return False
        self._seen, self._due_s = seen, now_s + _UPDATE_EVERY_S
        return True

    def update(self) -> None:
        """Activate the owners who have answered, and bring the challenges up to date.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: a file cannot be read or written.
        """
        if not self.is_member:
            return
        roster = self._home.roster()
        if any(not owner.active for owner in roster.owners):
            roster = self._apply(roster)
        self._state(roster)

    def _apply(self, before: Roster) -> Roster:
        answers = self._read_answers()
        if not answers:
            return before

        def edit(roster: Roster) -> Roster:
            now_s = int(self._now_s())
            for owner in roster.owners:
                if owner.active:
                    continue
                challenge = PossessionChallenge(owner, self._device, self._key)
                right = next((one for one in answers if challenge.is_answer(one, now_s)), None)
                if right is not None:
                    roster = roster.with_challenge(owner.name, right, now_s)
                    roster = roster.with_confirmation(owner.name, right, now_s)
            return roster

        after = self._home.change_roster(edit)
        for owner in after.owners:
            if owner.active and owner not in before.owners:
                _log.warning("%s has confirmed their key: %s", owner.name, owner.okey)
        return after

    def _read_answers(self) -> tuple[str, ...]:
        try:
            # send may write in this folder: never wait for what it puts there.
            data = read_plain_file(self._answers, owner_challenges.LONGEST_ANSWERS_BYTES)
        except FileNotFoundError:
            return ()
        except OSError as error:
            _log.warning("cannot read the owners' answers: %s", error.strerror)
            return ()
        return owner_challenges.parse_answers(data)

    def _state(self, roster: Roster) -> None:
        """Write the statements, unless those in the file say the same and are not old."""
        waiting = [owner for owner in roster.owners if not owner.active]
        active = [owner for owner in roster.owners if owner.active]
        owners = waiting[:MOST_CHALLENGES] + active[:_MOST_ACTIVE]
        now_s = int(self._now_s())
        if self._is_stated(owners, now_s):
            return
        statements = [state_owner(owner, self._device, self._key, now_s) for owner in owners]
        with translate_os_errors(self._challenges):
            make_folder(self._challenges.parent)
            write_shared(self._challenges, owner_challenges.encode_statements(statements))

    def _is_stated(self, owners: Sequence[Owner], now_s: int) -> bool:
        try:
            data = read_plain_file(self._challenges, owner_challenges.LONGEST_BYTES)
        except OSError:
            return False  # whatever is there, it is replaced
        stated = [
            read_statement(one, self._device, self._key.public_key())
            for one in owner_challenges.split_statements(data)
        ]
        return len(stated) == len(owners) and all(
            one is not None
            and (one.owner, one.recipient, one.challenge is None)
            == (owner.name, owner.recipient, owner.active)
            and (owner.active or one.made_s <= now_s < one.made_s + RENEW_S)
            for one, owner in zip(stated, owners, strict=True)
        )


def wait_for_keeper(
    home: Home,
    name: str | None,
    confirmation: OwnerConfirmation,
    wait: Callable[[float], bool],
    on_wait: Callable[[], object],
) -> str | None:
    """Return the keeper's name; in a household, wait until they have confirmed their key.

    Args:
        home: installation with the roster.
        name: the configured name, ``attribution.keeper``.
        confirmation: of this device.
        wait: waits for some seconds, and returns whether to stop.
        on_wait: called before each wait.

    Returns:
        The name, or None if the wait was stopped.

    Raises:
        ConfigError: as ``Home.keeper``; but in a household not for a key that is not confirmed.
    """
    while True:
        confirmation.update()
        owner = None if name is None else home.roster().owner(name)
        if owner is None or owner.active or not confirmation.is_member:
            return home.keeper(name)
        on_wait()
        if wait(1.0):
            return None


def follow(
    confirmation: OwnerConfirmation, run_soon: Callable[[Callable[[], object]], object]
) -> None:
    """Update in another thread when something may be to do; see `Sealer.run_soon`."""
    if confirmation.is_due(time.monotonic()):
        run_soon(confirmation.update)
