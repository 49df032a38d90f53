"""The programs that speak, where they are installed; and their absence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from listener.errors import Unavailable
from listener.train.voices.engine import VoiceEngine, describe_engine
from listener.train.voices.espeak import EspeakEngine
from listener.train.voices.festival import FestivalEngine
from listener.train.voices.flite import FliteEngine
from listener.train.voices.program import record_engine, run_engine
from listener.train.voices.rhvoice import RhvoiceEngine
from listener.train.voices.synthesis import derive_generator, synthesize

ENGINES = {
    "espeak-ng": EspeakEngine,
    "flite": FliteEngine,
    "festival": FestivalEngine,
    "RHVoice-test": RhvoiceEngine,
}
each_engine = pytest.mark.parametrize(
    "build",
    [
        pytest.param(
            build,
            id=name,
            marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"),
        )
        for name, build in ENGINES.items()
    ],
)


@each_engine
@pytest.mark.system
def test_speech_is_reproducible_and_varies(build: Callable[[], VoiceEngine]) -> None:
    engine = build()
    record = describe_engine(engine)
    clips = []
    for number in (1, 1, 2):
        speech = synthesize("hey lumen", engine, derive_generator(1, "test", number))
        assert speech is not None
        clips.append(speech)

    assert record.voices >= 1
    assert record.version
    assert all(0.25 < clip.end / 16_000 < 2.2 for clip in clips)
    assert np.array_equal(clips[0].samples, clips[1].samples)
    assert not np.array_equal(clips[0].samples, clips[2].samples)


@each_engine
@pytest.mark.system
def test_text_is_no_option_and_no_code(
    build: Callable[[], VoiceEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build()
    monkeypatch.chdir(tmp_path)
    text = '-o x " (fopen "x" "w") ) \\ ; $(touch x)'

    sound = engine.speak(text, engine.voices[0], derive_generator(1, "test"))

    assert len(sound) > 8_000
    assert not list(tmp_path.iterdir())


@pytest.mark.system
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_transcription_is_in_ipa() -> None:
    assert EspeakEngine().transcribe("hey lumen") == "hˈeɪ lˈuːmɛn"


def script(tmp_path: Path, body: str) -> str:
    program = tmp_path / "engine"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_failure_quotes_the_last_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="engine failed: no such voice"):
        run_engine((script(tmp_path, "echo first >&2; echo no such voice >&2; exit 3"),))
    with pytest.raises(Unavailable, match="engine failed: no reason given"):
        run_engine((script(tmp_path, "exit 3"),))


def test_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot run missing"):
        run_engine((str(tmp_path / "missing"),))


def test_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.train.voices.program.TIMEOUT_S", 0.2)

    with pytest.raises(Unavailable, match="engine gave no result"):
        run_engine((script(tmp_path, "exec sleep 20"),))


def test_program_without_sound_gives_none(tmp_path: Path) -> None:
    assert not len(record_engine((script(tmp_path, ":"), "{file}")))
    assert not len(record_engine((script(tmp_path, ': > "$1"'), "{file}")))


def test_damaged_sound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"spoken\.wav"):
        record_engine((script(tmp_path, 'echo RIFFnothing > "$1"'), "{file}"))
