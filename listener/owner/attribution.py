"""Whose clip is it? One owner's, or nobody's: then there is no clip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from listener.audio.clip import Clip
from listener.owner.records import Owner
from listener.owner.roster import Roster


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """An answer that is sure."""

    owner: Owner
    """Active at the time of asking."""
    spk: float | None
    """Similarity to her voiceprint, -1 to 1; None where no voice was compared."""


class Attribution(Protocol):
    """A way to tell whose a clip is."""

    def attribute(self, clip: Clip) -> AttributionResult | None:
        """Return the clip's owner, or None where that is not sure.

        Who calls counts the Nones: each is a clip that was not made.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: the roster cannot be read.
        """


class Keeper:
    """Every clip of this device belongs to its keeper.

    Safe for use by several threads if ``roster`` is.
    """

    def __init__(self, name: str | None, roster: Callable[[], Roster]) -> None:
        """Take the keeper by name.

        Args:
            name: her short name; None where the device has no keeper yet.
            roster: asked anew for each clip, so that a keeper who is forgotten or confirmed while
                the device listens is so from the next clip on.
        """
        self._name = name
        self._roster = roster

    def attribute(self, clip: Clip) -> AttributionResult | None:
        """Return the keeper if she is known and has confirmed her key, and None otherwise."""
        del clip  # A keeper's clips are hers whatever is in them.
        if self._name is None:
            return None
        keeper = self._roster().owner(self._name)
        if keeper is None or not keeper.active:
            return None
        return AttributionResult(keeper, spk=None)
