"""Which devices PortAudio has, which of them is meant, and why one is not there.

For the microphone's process and for what looks at devices. The one must start fast, so nothing is
imported that costs time: no numpy, no pathlib, no dataclass.
"""

import ctypes.util
import errno
import importlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from listener.errors import Unavailable
from listener.hear.microphone.protocol import Cause

PortAudio: TypeAlias = Any
"""The module sounddevice, which ships no types; or a test's own."""
Stream: TypeAlias = Any
"""What the module opens: a stream, in or out."""

DEFAULT: Final = "default"
LIBRARY: Final = "libportaudio.so.2"
_INPUT: Final = re.compile(r"pcmC\d+D\d+c")

# portaudio.h
_INVALID_RATE: Final = -9997
_INVALID_CHANNELS: Final = -9998
_UNAVAILABLE: Final = -9985
_INVALID_DEVICE: Final = -9996
_HOST_ERROR: Final = -9999
_CAUSES: Final[Mapping[int, Cause]] = {
    _INVALID_RATE: Cause.RATE,
    _INVALID_CHANNELS: Cause.CHANNEL,
    _UNAVAILABLE: Cause.BUSY,
    _INVALID_DEVICE: Cause.MISSING,
}
_HOST_CAUSES: Final[Mapping[int, Cause]] = {
    errno.EBUSY: Cause.BUSY,
    errno.EACCES: Cause.DENIED,
    errno.EPERM: Cause.DENIED,
    errno.ENOENT: Cause.MISSING,
}


class InputDevice(NamedTuple):
    """Something that can be heard."""

    number: int
    """PortAudio's index; it changes when something is plugged in."""
    name: str
    channels: int
    """The most it has."""
    rate_hz: int
    """What it prefers."""


def load_portaudio(library: str = LIBRARY) -> PortAudio:
    """Load sounddevice and return it.

    Args:
        library: the file of PortAudio that it loads.

    Raises:
        Unavailable: the library is not installed.
        ModuleNotFoundError: the Python package is not.
    """
    found = ctypes.util.find_library

    def named(name: str) -> str | None:
        # find_library starts ldconfig, and compilers where that fails: slow, and forbidden where
        # a service may run nothing. The dynamic loader finds the library by its own name.
        return library if name == "portaudio" else found(name)

    ctypes.util.find_library = named
    try:
        return importlib.import_module("sounddevice")
    except OSError as error:
        raise Unavailable(
            "the library PortAudio is not installed", "apt install libportaudio2"
        ) from error
    finally:
        ctypes.util.find_library = found


def list_devices(sound: PortAudio) -> tuple[InputDevice, ...]:
    """Return the devices that can be heard, by their index.

    Args:
        sound: what `load_portaudio` returned.
    """
    return tuple(
        InputDevice(index, str(each["name"]), int(each["max_input_channels"]), round(rate_hz))
        for index, each in enumerate(sound.query_devices())
        if each["max_input_channels"] > 0 and (rate_hz := float(each["default_samplerate"])) > 0
    )


def find_default_index(sound: PortAudio) -> int:
    """Return the index of PortAudio's default input; below 0 when there is none."""
    return int(sound.default.device[0])


def supports_rate(sound: PortAudio, device: InputDevice, channel: int, rate_hz: int) -> bool:
    """Tell whether a device gives a rate without our resampling.

    Args:
        sound: what `load_portaudio` returned.
        device: which.
        channel: which of its channels would be heard, from 0.
        rate_hz: the rate.
    """
    try:
        sound.check_input_settings(
            device=device.number, channels=channel + 1, dtype="int16", samplerate=rate_hz
        )
    except (ValueError, sound.PortAudioError):
        return False
    return True


def select_devices(
    devices: Iterable[InputDevice], wanted: str, default: int
) -> Sequence[InputDevice]:
    """Return the devices that ``wanted`` names; the first of them is heard.

    Args:
        devices: all.
        wanted: ``default``, an index, a name, or part of a name in any case.
        default: the index of the default device.
    """
    known = tuple(devices)
    if wanted == DEFAULT and default >= 0:
        return tuple(device for device in known if device.number == default)
    if wanted.isdecimal():
        return tuple(device for device in known if device.number == int(wanted))
    exact = tuple(device for device in known if device.name == wanted)
    part = wanted.casefold()
    return exact or tuple(device for device in known if part in device.name.casefold())


def explain_missing(wanted: str, asound: str = "/proc/asound", dev: str = "/dev/snd") -> Cause:
    """Tell why a device is not in the table: PortAudio leaves out what it cannot open.

    Args:
        wanted: as in `select_devices`.
        asound: where ALSA says what there is.
        dev: where its device files are.
    """
    try:
        inputs = [name for name in os.listdir(dev) if _INPUT.fullmatch(name)]  # noqa: PTH208 - no pathlib here
    except OSError:
        inputs = []
    if not inputs:
        return Cause.MISSING
    if not any(os.access(f"{dev}/{name}", os.R_OK) for name in inputs):
        return Cause.DENIED
    try:
        with open(f"{asound}/cards", encoding="utf-8", errors="replace") as listing:  # noqa: PTH123 - no pathlib here
            cards = listing.read().casefold()
    except OSError:
        return Cause.MISSING
    # Part of the name, since PortAudio adds the device's to the card's.
    name = wanted.casefold().partition(":")[0]
    is_there = wanted == DEFAULT or (not wanted.isdecimal() and name in cards)
    return Cause.BUSY if is_there else Cause.MISSING


def cause_from_error(error: Exception) -> Cause:
    """Return what PortAudio's error means, in our closed set.

    Args:
        error: ``sounddevice.PortAudioError``: a text, a number, and what the driver said.
    """
    match error.args:
        case [_, int(number), [_, int(host), *_], *_] if number == _HOST_ERROR:
            return _HOST_CAUSES.get(abs(host), Cause.GONE)
        case [_, int(number), *_]:
            return _CAUSES.get(number, Cause.GONE)
        case _:
            return Cause.GONE
