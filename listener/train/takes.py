"""Takes of the person at the microphone, with a check of each recording's levels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from listener.audio.pcm import Samples
from listener.config import Config
from listener.errors import EarmarkError
from listener.hear.takes.take_client import TakeClient
from listener.hear.takes.take_process import LEAST_SPEECH_S
from listener.hear.takes.take_reply import TakeReply
from listener.quantities import quantity
from listener.voiceprint.enrolment import RecordingLevels, RecordingProblem

TRIES: Final = 4
"""Recordings of one take before it is given up."""

ADVICE: Final[dict[RecordingProblem, str]] = {
    RecordingProblem.SHORT: f"less than {LEAST_SPEECH_S} s of speech; say the whole phrase",
    RecordingProblem.CLIPPED: "too loud; move away from the microphone, or lower its gain",
    RecordingProblem.QUIET: "too quiet; move nearer to the microphone, or raise its gain",
    RecordingProblem.NOISY: "too much noise; move nearer, or switch off its source",
    RecordingProblem.OTHER_VOICE: "another voice; speak alone",
}


class TakeRefused(EarmarkError):
    """Recordings that cannot be used."""


class TakeRecorder(Protocol):
    """Records takes; `TakeClient` is one."""

    def record(self) -> TakeReply:
        """Record one take; see `TakeClient.record`."""


@dataclass(frozen=True, slots=True)
class TakeAttempt:
    """One recording, for display."""

    number: int
    """Number of the take, from 1."""
    count: int
    levels: RecordingLevels

    @property
    def text(self) -> str:
        """One line: levels, and whether it is used."""
        levels = self.levels
        verdict = "accepted" if levels.problem is None else ADVICE[levels.problem]
        return (
            f"{self.number} of {self.count}: level {levels.level_dbfs:.0f} dBFS, noise"
            f" {levels.noise_dbfs:.0f} dBFS, {levels.speech_s:.1f} s of speech: {verdict}"
        )


def record_takes(
    count: int, phrase: str, settings: Config, say: Callable[[str], None]
) -> tuple[Samples, ...]:
    """Record a person who says the wake word several times.

    Args:
        count: number of takes, at least 1.
        phrase: the wake word.
        settings: microphone and mute switch, as hear uses them.
        say: shows a line to the person.

    Returns:
        Recordings, each int16 at 16 kHz, shape (n,), at most 10 s. They are in memory alone.

    Raises:
        Unavailable: the microphone is missing, busy or muted.
        TakeRefused: four recordings of one take could not be used.
    """
    say(
        f"Say “{phrase}” {quantity(count, 'time')}, as you will say it to the speaker, from"
        " different places in the room. Wait for each prompt."
    )
    with TakeClient(settings) as client:
        return collect_takes(count, phrase, client, say)


def collect_takes(
    count: int, phrase: str, recorder: TakeRecorder, say: Callable[[str], None]
) -> tuple[Samples, ...]:
    """Collect takes of a recorder; see ``record_takes``."""
    takes: list[Samples] = []
    for number in range(1, count + 1):
        for _ in range(TRIES):
            say(f"say: {phrase}")
            reply = recorder.record()
            say(TakeAttempt(number, count, reply.levels).text)
            if reply.problem is None:
                takes.append(reply.sound)
                break
        else:
            raise TakeRefused(
                f"{quantity(TRIES, 'recording')} of one take could not be used",
                "start again in a quiet room, 1 to 2 m from the microphone",
            )
    return tuple(takes)
