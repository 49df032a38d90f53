"""The switch that shuts the microphone, as the gate asks it.

Whatever stands behind it, a line that cannot be read means muted: the gate takes a failing
`Switch.is_muted` for a shut one. `switches` has what stands behind a line of the kernel, `input`
and `gpio` those lines; `muting` joins the switch with the software mute and the fault.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import UsageError

_STRETCH: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)?\s*", re.ASCII)


class Switch(Protocol):
    """What says whether the microphone may be open. One thread asks."""

    @property
    def about(self) -> str:
        """What kind of switch this is, to be said aloud at the start."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when there is reason to ask again.

        Asking takes away what made them readable. They may differ from call to call.
        """

    def is_muted(self, at_sample: int) -> bool:
        """Tell whether it is shut, or was at any moment since it was asked last.

        So a switch thrown and released within one block still mutes that block. Asked twice
        without time between, the second answer is about now alone. A line that was lost and found
        again since was shut between.

        Args:
            at_sample: how far the stream has come; a switch that lives in the real world has its
                own time and ignores it.

        Raises:
            OSError: the line cannot be read.
            EarmarkError: the same, in our words.
        """


class NoSwitch:
    """No switch is fitted, and whoever set up the device said so. A file needs none."""

    about = "none"

    def filenos(self) -> Sequence[int]:
        """Nothing ever happens."""
        return ()

    def is_muted(self, at_sample: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class MuteInterval:
    """When a scripted switch is shut."""

    first_sample: int
    end_sample: int | None
    """None: until the end."""


class ScriptedSwitch:
    """A switch that is thrown at given seconds of a recording."""

    about = "script"

    def __init__(self, stretches: Sequence[MuteInterval]) -> None:
        self._stretches: Final = tuple(stretches)
        self._asked_at_sample = 0

    def filenos(self) -> Sequence[int]:
        """Nothing happens but by the stream's own time."""
        return ()

    def is_muted(self, at_sample: int) -> bool:
        """Tell whether a stretch covers any sample since the last question, or the next one."""
        since, self._asked_at_sample = self._asked_at_sample, at_sample
        end = max(at_sample, since + 1)
        return any(
            stretch.first_sample < end
            and (stretch.end_sample is None or since < stretch.end_sample)
            for stretch in self._stretches
        )


def parse_mute_intervals(text: str) -> tuple[MuteInterval, ...]:
    """Read ``40-50,72.5-80`` as stretches in seconds; ``90-`` lasts until the end.

    Raises:
        UsageError: it is not that.
    """
    stretches = []
    for part in text.split(","):
        match = _STRETCH.fullmatch(part)
        if match is None:
            raise _wrong(text)
        first = round(float(match[1]) * SAMPLE_RATE_HZ)
        end = None if match[2] is None else round(float(match[2]) * SAMPLE_RATE_HZ)
        if end is not None and end <= first:
            raise _wrong(text)
        stretches.append(MuteInterval(first, end))
    return tuple(stretches)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"{text!r} does not say when the switch is shut",
        "give seconds of the recording, such as 40-50 or 40-50,72.5-80",
    )
