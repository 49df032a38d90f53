"""Reasons for which the archive does not store a clip yet, in words. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WaitReason:
    """A reason in words."""

    text: str
    """What is the case, as part of a sentence."""
    hint: str
    """What to do, with the command."""


WAIT_REASONS: Final = {
    "owner": WaitReason(
        "the archive knows no active owner of this name and key",
        "compare earmark owner list here and on the archive's computer; after a lost key, replace"
        " it on both: docs/guides/owners.md",
    ),
    "device": WaitReason(
        "the archive knows no speaker of this name and key",
        "check that it lists this speaker: earmark household devices; this may be another archive"
        " than before",
    ),
    "unavailable": WaitReason(
        "the archive cannot store clips now",
        "check its disk, and its log: journalctl -u earmark-archive",
    ),
}
"""Reasons by the word that the archive sends."""
UNKNOWN: Final = WaitReason(
    "the archive does not store this speaker's clips",
    "find the cause in the archive's log: journalctl -u earmark-archive",
)
"""In place of a reason that this version does not know."""
