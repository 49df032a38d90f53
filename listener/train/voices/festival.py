"""Festival: diphone and HTS voices of the University of Edinburgh's system."""

import re
from typing import Final

from numpy.random import Generator

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.train.voices.program import (
    FILE,
    find_engine,
    parse_version,
    record_engine,
    run_engine,
)

PROGRAM: Final = "festival"
PACKAGES: Final = "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"

_HEAP_CELLS: Final = "1000000"
"""Cells of Scheme's heap. The default is ten times as many, and clearing them takes 0.2 s of CPU at
each start; the sound is the same."""
_LIST: Final = re.compile(r"\(([^()]*)\)")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}\Z")
# English voices; Festival has some of other languages, which fail on English text.
_ENGLISH: Final = re.compile(r"kal_|ked_|rab_|don_|cmu_(us|indic)|us[123]_|en1_")


class FestivalEngine:
    """Festival; see `listener.train.voices.engine.VoiceEngine`."""

    name = "festival"
    licence = "X11 and those of its voices"
    resampling = (0.85, 1.2)

    def __init__(self) -> None:
        """Find the program and its voices.

        Raises:
            Unavailable: it is not installed, or has no English voice.
        """
        self._program = find_engine(PROGRAM, PACKAGES)
        self.version = parse_version(run_engine((self._program, "--version")))
        self.voices = parse_festival_voices(
            run_engine((self._program, "-b", "(print (voice.list))"))
        )
        if not self.voices:
            raise Unavailable("festival has no English voice", f"apt install {PACKAGES}")

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        stretch = random.uniform(0.8, 1.3)
        commands = (
            f"(voice_{voice})"
            f"(Parameter.set 'Duration_Stretch {stretch:.3f})"
            f'(utt.save.wave (utt.synth (Utterance Text "{quote_text(text)}")) "{FILE}" \'riff)\n'
        )
        return record_engine((self._program, "--heap", _HEAP_CELLS, "--pipe"), commands)


def quote_text(text: str) -> str:
    """Return a text as it may stand in a string of Festival's Scheme."""
    return text.replace("\\", " ").replace('"', " ").replace("{", " ")


def parse_festival_voices(printed: str) -> tuple[str, ...]:
    """Return the English voices in Festival's list, sorted."""
    match = _LIST.search(printed)
    names = match[1].split() if match else []
    return tuple(sorted({name for name in names if _NAME.match(name) and _ENGLISH.match(name)}))
