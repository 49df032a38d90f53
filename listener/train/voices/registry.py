"""The voice engines that can be used on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from listener.errors import EarmarkError, Unavailable, UsageError
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.espeak import EspeakEngine
from listener.train.voices.festival import FestivalEngine
from listener.train.voices.flite import FliteEngine
from listener.train.voices.kokoro import KokoroEngine
from listener.train.voices.piper import PiperEngine
from listener.train.voices.rhvoice import RhvoiceEngine

Quality = Literal["fast", "best"]
"""``fast``: the programs; ``best``: the neural voices, too."""

_PROGRAMS: Final[Mapping[str, Callable[[], VoiceEngine]]] = {
    "espeak-ng": EspeakEngine,
    "flite": FliteEngine,
    "festival": FestivalEngine,
    "rhvoice": RhvoiceEngine,
}
_NEURAL: Final[Mapping[str, Callable[[Path], VoiceEngine]]] = {
    "kokoro": KokoroEngine,
    "piper": PiperEngine,
}


@dataclass(frozen=True, slots=True)
class MissingEngine:
    """An engine that cannot be used here."""

    name: str
    reason: str
    hint: str
    """What makes it available."""


def engine_names(quality: Quality = "best") -> tuple[str, ...]:
    """Return the names of all engines of a quality, in a fixed order."""
    return (*_PROGRAMS, *(_NEURAL if quality == "best" else ()))


def find_engines(
    home: Path, quality: Quality = "best"
) -> tuple[tuple[VoiceEngine, ...], tuple[MissingEngine, ...]]:
    """Return the engines of this machine, and those that are missing with the reason.

    Args:
        home: data directory, which has the neural voices.
        quality: which engines are tried.
    """
    found: list[VoiceEngine] = []
    missing: list[MissingEngine] = []
    for name in engine_names(quality):
        try:
            found.append(open_engine(name, home))
        except EarmarkError as error:
            missing.append(MissingEngine(name, str(error), error.hint))
    return tuple(found), tuple(missing)


def open_engine(name: str, home: Path) -> VoiceEngine:
    """Open one engine.

    Raises:
        UsageError: there is no engine of this name.
        Unavailable: it is not installed.
        ModelRefused: the files of a neural voice are not the expected ones.
        ConfigError: a package of the extra ``train`` is not installed.
    """
    if name in _NEURAL:
        return _NEURAL[name](home)
    if name in _PROGRAMS:
        return _PROGRAMS[name]()
    raise UsageError(
        f"there is no voice engine {name!r}", f"use one of {', '.join(engine_names())}"
    )


def require_engines(engines: Sequence[VoiceEngine], missing: Sequence[MissingEngine]) -> None:
    """Check that there is an engine.

    Raises:
        Unavailable: there is none; the hint installs one.
    """
    if not engines:
        raise Unavailable(
            "there is no voice engine: " + "; ".join(each.reason for each in missing),
            missing[0].hint if missing else "",
        )
