"""What a command line asks of who hears."""

import argparse
from pathlib import Path
from typing import Final

import pytest

from listener.cli.hear import apply_arguments, microphone_settings
from listener.config import Config, MicrophoneSettings
from listener.errors import UsageError

NOTHING: Final = {
    "channel": None,
    "device": None,
    "fast": False,
    "keeper": None,
    "microphone": None,
    "mute": None,
    "word": None,
}


def asked(**words: object) -> argparse.Namespace:
    return argparse.Namespace(**(NOTHING | words))


def test_arguments_put_a_device_for_recordings_and_recordings_for_a_device() -> None:
    recordings = MicrophoneSettings(files=("a.flac",), channel=1)

    assert microphone_settings(asked(fast=True), recordings, ()) == recordings
    assert microphone_settings(asked(device="usb"), recordings, ()) == MicrophoneSettings(
        device="usb", channel=1
    )
    assert microphone_settings(asked(mute="1-2"), MicrophoneSettings(), ["b.wav"]).files == (
        "b.wav",
    )


@pytest.mark.parametrize(
    ("words", "files", "said"),
    [
        ({"device": "usb"}, ["a.flac"], "exclude each other"),
        ({"fast": True}, [], "--fast needs recordings"),
        ({"device": "usb", "mute": "1-2"}, [], "--mute needs recordings"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    words: dict[str, object], files: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        microphone_settings(asked(**words), MicrophoneSettings(), files)


def test_without_arguments_the_configuration_stays() -> None:
    assert apply_arguments(asked(), Config()) == Config()


def test_arguments_put_another_word_channel_and_keeper() -> None:
    words = ["timer", "alexa", "timer"]

    settings = apply_arguments(asked(word=words, channel=1, keeper="bo"), Config())

    assert settings.wake.words == ("timer", "alexa"), "twice the same word is one word"
    assert settings.microphone.channel == 1
    assert settings.attribution.keeper == "bo"


def test_a_list_of_recordings_is_split_but_not_the_name_of_one(tmp_path: Path) -> None:
    comma = tmp_path / "hall, monday.flac"
    comma.touch()

    settings = apply_arguments(asked(microphone=[str(comma), "a.flac,b.flac"]), Config())

    assert settings.microphone.files == (str(comma), "a.flac", "b.flac")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"channel": -1}, "channels start at 0"),
        ({"microphone": ["a.flac,,b.flac"]}, "empty name"),
    ],
)
def test_what_cannot_be_is_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        apply_arguments(asked(**words), Config())
