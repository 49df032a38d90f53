"""Attribution of a clip to exactly one owner; a clip without an owner is discarded."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from listener.audio.clip import Clip
from listener.owner.records import Owner
from listener.owner.roster import Roster


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """The owner of a clip."""

    owner: Owner
    """The owner, who is active."""
    spk: float | None
    """Similarity to the owner's voiceprint, -1 to 1; None if no voice was compared."""
    kept: tuple[int, int] | None = None
    """First and end sample, in the clip, of the part without another voice; None for all of it."""


class NoOwner(Enum):
    """Reason for which a voice has no owner. It names no person."""

    GUEST = auto()
    """The voice is similar to no owner's."""
    UNSURE = auto()
    """There is too little speech, two owners are similar, or the voices could not be compared."""
    BYSTANDER = auto()
    """Another voice speaks in an owner's clip."""


class Attribution(Protocol):
    """A method of attribution."""

    def attribute(self, clip: Clip) -> AttributionResult | NoOwner | None:
        """Return the clip's owner, or the reason why it has none; None if no voice was compared.

        The caller counts each clip without an owner as a discarded clip.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: the roster cannot be read.
        """


class Keeper:
    """Attribution of every clip of this device to its keeper.

    Safe for use by several threads if ``roster`` is.
    """

    def __init__(self, name: str | None, roster: Callable[[], Roster]) -> None:
        """Set the keeper by name.

        Args:
            name: short name of the keeper; None if the device has none yet.
            roster: returns the current roster; called for each clip, so that a removal or a
                confirmation takes effect from the next clip on.
        """
        self._name = name
        self._roster = roster

    def attribute(self, clip: Clip) -> AttributionResult | None:
        """Return the keeper if they are in the roster with a confirmed key, otherwise None."""
        del clip  # The keeper owns every clip, whatever it contains.
        if self._name is None:
            return None
        keeper = self._roster().owner(self._name)
        if keeper is None or not keeper.active:
            return None
        return AttributionResult(keeper, spk=None)
