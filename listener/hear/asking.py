"""What a command line asks of who hears: another microphone, another word, another keeper."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from listener.config import Config, MicrophoneSettings, WakeSettings
from listener.errors import UsageError


def apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    """Return the settings as the arguments of ``earmark hear`` change them.

    Raises:
        UsageError: they contradict each other, or cannot be.
    """
    replace = msgspec.structs.replace
    files = _files(arguments.microphone or ())
    microphone = microphone_settings(arguments, settings.microphone, files)
    attribution = settings.attribution
    if arguments.channel is not None:
        microphone = replace(microphone, channel=arguments.channel)
    if arguments.keeper:
        attribution = replace(attribution, keeper=arguments.keeper)
    if microphone.channel < 0:
        raise UsageError("channels count from 0")
    return replace(
        settings,
        microphone=microphone,
        wake=wake_settings(arguments, settings.wake),
        attribution=attribution,
    )


def microphone_settings(
    arguments: argparse.Namespace, settings: MicrophoneSettings, files: Sequence[str]
) -> MicrophoneSettings:
    """Return the microphone that is meant, as the arguments change the settings.

    Args:
        arguments: of a verb that hears; ``device``, ``fast`` and ``mute`` count.
        settings: what is heard where no argument says otherwise.
        files: recordings that the arguments name.

    Raises:
        UsageError: they contradict each other.
    """
    if arguments.device and files:
        raise UsageError("--device and --microphone are two microphones", "name one of them")
    if arguments.device:
        settings = msgspec.structs.replace(settings, device=arguments.device, files=())
    if files:
        settings = msgspec.structs.replace(settings, files=tuple(files))
    for option in ("fast", "mute"):
        if getattr(arguments, option) and not settings.files:
            raise UsageError(
                f"--{option} is for recordings, and a device is heard",
                "--microphone FILE hears a recording",
            )
    return settings


def wake_settings(arguments: argparse.Namespace, settings: WakeSettings) -> WakeSettings:
    """Return the words that are meant, as the arguments change the settings.

    Args:
        arguments: of a verb that hears; ``word`` counts.
        settings: what is listened for where no argument says otherwise.
    """
    if not arguments.word:
        return settings
    # Twice the same word is one word.
    return msgspec.structs.replace(settings, words=tuple(dict.fromkeys(arguments.word)))


def _files(given: Sequence[str]) -> list[str]:
    """Split lists at their commas, but not a file's name that has one."""
    names: list[str] = []
    for text in given:
        names += [text] if Path(text).exists() else text.split(",")
    if not all(names):
        raise UsageError("a recording's name is empty", "separate names by single commas")
    return names
