import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.errors import Unavailable
from listener.evaluate.confusables.speech import (
    LEAD_S,
    TAIL_S,
    VOICES,
    Voice,
    find_program,
    parse_voice,
    speak,
)

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed; make debian brings it"
)


@pytest.mark.parametrize(
    ("text", "voice"),
    [
        ("en-us+f2", Voice("en-us+f2", 150, 50)),
        ("en:160", Voice("en", 160, 50)),
        ("en:160:7", Voice("en", 160, 7)),
        ("en us", None),
        ("en:1", None),
        ("", None),
        ("-w", None),
        ("/etc/passwd", None),
    ],
)
def test_voice_is_parsed(text: str, voice: Voice | None) -> None:
    assert parse_voice(text) == voice


def test_voice_round_trip() -> None:
    assert [parse_voice(str(voice)) for voice in VOICES] == list(VOICES)


@needs_espeak
@pytest.mark.system
def test_speech_has_silence_before_and_after() -> None:
    sound = speak(find_program(), "election", VOICES[0])

    lead, tail = round(LEAD_S * 16_000), round(TAIL_S * 16_000)
    assert not sound[:lead].any()
    assert not sound[-tail:].any()
    spoken = sound[lead:-tail]
    assert 0.3 < len(spoken) / 16_000 < 2
    assert np.abs(spoken.astype(int)).max() == pytest.approx(0.4 * 32_767, abs=2)


@needs_espeak
@pytest.mark.system
def test_speech_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "whole.wav"
    voice = VOICES[0]
    subprocess.run(
        ["espeak-ng", "-v", voice.name, "-s", "150", "-p", "50", "-w", file, "election"], check=True
    )

    sound = speak(find_program(), "election", voice)

    spoken_s = len(sound) / 16_000 - LEAD_S - TAIL_S
    assert spoken_s == pytest.approx(soundfile.info(file).duration, abs=0.01)


@needs_espeak
@pytest.mark.system
def test_synthesis_is_deterministic() -> None:
    one, other = (speak(find_program(), "a rex", VOICES[1]) for _ in range(2))

    assert np.array_equal(one, other)


@needs_espeak
@pytest.mark.system
def test_phrase_is_not_parsed_as_an_option() -> None:
    sound = speak(find_program(), "--version; -f /etc/passwd", VOICES[0])

    assert len(sound) > 16_000


@needs_espeak
@pytest.mark.system
def test_unknown_voice_is_an_error() -> None:
    with pytest.raises(Unavailable, match="failed with the voice nonsense"):
        speak(find_program(), "hello", Voice("nonsense"))


def test_missing_espeak_is_an_error_with_install_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="espeak-ng is not installed") as caught:
        find_program()
    assert "apt install espeak-ng" in caught.value.hint


def test_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot run espeak-ng"):
        speak(str(tmp_path / "missing"), "hello", VOICES[0])
