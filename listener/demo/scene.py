"""Scenes of the demo: recordings, and their cue sheets with the expected detections."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import ConfigError

_HERE = Path(__file__).resolve().parent
EVENING = "scene"
COMMAND = "command"
VOICES = "voices"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenCue:
    """Phrase in the scene."""

    who: str
    text: str
    from_s: float
    to_s: float
    word: str = ""
    """Wake word in the phrase, or an empty string."""
    near: bool = False
    """True if the phrase sounds similar to the wake word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Recording with its cue sheet."""

    file: Path
    about: str
    length_s: float
    said: tuple[SpokenCue, ...]
    muted_from_s: float = 0.0
    muted_to_s: float = 0.0

    @property
    def muted_s(self) -> float:
        """Length of the mute in seconds."""
        return self.muted_to_s - self.muted_from_s

    @property
    def wakes(self) -> tuple[SpokenCue, ...]:
        """Phrases that must be detected."""
        return tuple(cue for cue in self.said if cue.word and not self._is_muted(cue))

    @property
    def muted_words(self) -> tuple[SpokenCue, ...]:
        """Phrases with the wake word while muted."""
        return tuple(cue for cue in self.said if cue.word and self._is_muted(cue))

    @property
    def near_misses(self) -> tuple[SpokenCue, ...]:
        """Phrases that must give a near miss."""
        return tuple(cue for cue in self.said if cue.near)

    def at(self, time_s: float) -> SpokenCue | None:
        """Return the phrase at a time, or None."""
        for cue in self.said:
            if cue.from_s <= time_s < cue.to_s:
                return cue
        return None

    def _is_muted(self, cue: SpokenCue) -> bool:
        return self.muted_from_s <= cue.from_s and cue.to_s <= self.muted_to_s


def load_scene(folder: Path = _HERE, name: str = EVENING) -> Scene:
    """Read a scene that ships with the demo.

    Args:
        folder: of the recording and its cue sheet.
        name: of the scene, ``EVENING``, ``COMMAND`` or ``VOICES``.

    Raises:
        ConfigError: a file is missing or damaged.
    """
    sheet = folder / f"{name}.toml"
    try:
        (raw,) = tomllib.loads(sheet.read_text("utf-8"))["recording"]
        file = folder / raw["file"]
        file.stat()
        return Scene(
            file=file,
            about=raw["about"],
            length_s=raw["length_samples"] / SAMPLE_RATE_HZ,
            said=tuple(_said(cue) for cue in raw["said"]),
            muted_from_s=raw.get("muted_from_s", 0.0),
            muted_to_s=raw.get("muted_to_s", 0.0),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the demo's scene in {folder} is missing or damaged", "reinstall earmark"
        ) from error


def load_enrolment(owner: str) -> Path:
    """Return the recording of an owner's sentences for the voiceprint.

    Raises:
        ConfigError: it is missing or damaged.
    """
    return load_scene(name=f"enrol-{owner}").file


def _said(cue: dict[str, Any]) -> SpokenCue:
    return SpokenCue(
        who=cue["who"],
        text=cue["text"],
        from_s=cue["first_sample"] / SAMPLE_RATE_HZ,
        to_s=cue["end_sample"] / SAMPLE_RATE_HZ,
        word=cue.get("word", ""),
        near=cue.get("near", False),
    )
