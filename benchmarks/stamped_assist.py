"""``earmark assist`` that writes when each of its stages begins or ends.

``python -m benchmarks.stamped_assist FILE ...``: ``FILE`` gets lines of `stage_times`. Nothing else
differs from ``earmark assist ...``.
"""

import dataclasses
import sys
from pathlib import Path

from benchmarks.stage_times import OPENED, READY, RECOGNISED, Stamp, open_stamps, substitute
from listener.assist import build
from listener.assist.recogniser import Recogniser, Recognition
from listener.assist.worker import Abilities
from listener.audio.pcm import Samples
from listener.cli import assist as assist_command
from listener.cli.main import main
from listener.config import AssistSettings


class _StampedRecogniser:
    """A recogniser, with the times of its calls."""

    def __init__(self, recogniser: Recogniser, stamp: Stamp) -> None:
        self._recogniser, self._stamp = recogniser, stamp

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        self._stamp(OPENED)
        found = self._recogniser.recognise(samples, word, is_final=is_final)
        self._stamp(RECOGNISED)
        return found


def _stamp_assist(stamp: Stamp) -> None:
    def build_stamped(settings: AssistSettings, home: Path) -> Abilities:
        abilities = build.build_abilities(settings, home)
        stamp(READY)
        stamped = _StampedRecogniser(abilities.recogniser, stamp)
        return dataclasses.replace(abilities, recogniser=stamped)

    substitute(assist_command, "build_abilities", build_stamped)


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    _stamp_assist(open_stamps(file))
    sys.argv[1:] = ["assist", *arguments]
    sys.exit(main())
