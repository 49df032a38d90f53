"""Attribution of a clip to exactly one owner; a clip without an owner is discarded."""

from collections.abc import Callable
from dataclasses import dataclass
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


class Attribution(Protocol):
    """A method of attribution."""

    def attribute(self, clip: Clip) -> AttributionResult | None:
        """Return the clip's owner, or None if the owner is uncertain.

        The caller counts each None as a discarded clip.

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
