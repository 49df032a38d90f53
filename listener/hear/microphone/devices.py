"""Input devices of PortAudio: list them, select one by name, explain why one is missing.

The microphone process and `earmark doctor` use it. The microphone process must start fast, so
this module imports neither numpy nor pathlib nor dataclasses.
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
"""The module sounddevice, which has no type annotations; or a fake of it."""
Stream: TypeAlias = Any
"""An input or output stream of sounddevice."""

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
    """Device with at least one input channel."""

    number: int
    """PortAudio's index; it can change when a device is plugged in."""
    name: str
    channels: int
    """Largest number of input channels."""
    rate_hz: int
    """Default sample rate."""


def load_portaudio(library: str = LIBRARY) -> PortAudio:
    """Load sounddevice and return it.

    Args:
        library: file name of the PortAudio library.

    Raises:
        Unavailable: the library is not installed.
        ModuleNotFoundError: the package sounddevice is not installed.
    """
    original = ctypes.util.find_library

    def find_library(name: str) -> str | None:
        # The original starts ldconfig, and a compiler if that fails: slow, and forbidden to the
        # confined service. The dynamic loader finds the library by its file name.
        return library if name == "portaudio" else original(name)

    ctypes.util.find_library = find_library
    try:
        return importlib.import_module("sounddevice")
    except OSError as error:
        raise Unavailable(
            "the library PortAudio is not installed", "apt install libportaudio2"
        ) from error
    finally:
        ctypes.util.find_library = original


def list_devices(sound: PortAudio) -> tuple[InputDevice, ...]:
    """Return the devices that have an input, by their index.

    Args:
        sound: the module from `load_portaudio`.
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
    """Return whether PortAudio opens a device at a rate, so that Earmark need not resample.

    Args:
        sound: the module from `load_portaudio`.
        device: device to check; it is not opened.
        channel: channel that would be read, from 0.
        rate_hz: sample rate.
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
    """Return the devices that match ``wanted``; the microphone process opens the first.

    Args:
        devices: all input devices.
        wanted: ``default``, an index, a name, or part of a name in any case.
        default: index of the default device; below 0 when there is none.
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
    """Return the cause why PortAudio does not list a device: it omits those it cannot open.

    Args:
        wanted: as in `select_devices`.
        asound: folder where ALSA lists its cards (proc(5)).
        dev: folder of ALSA's device files.
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
    # Only the part before the colon: PortAudio appends the device's name to the card's.
    name = wanted.casefold().partition(":")[0]
    is_present = wanted == DEFAULT or (not wanted.isdecimal() and name in cards)
    return Cause.BUSY if is_present else Cause.MISSING


def cause_from_error(error: Exception) -> Cause:
    """Return the `Cause` of a PortAudio error; `Cause.GONE` for an unknown one.

    Args:
        error: ``sounddevice.PortAudioError``: its arguments are a text, PortAudio's error number
            (portaudio.h) and the host API's error.
    """
    match error.args:
        case [_, int(number), [_, int(host), *_], *_] if number == _HOST_ERROR:
            return _HOST_CAUSES.get(abs(host), Cause.GONE)
        case [_, int(number), *_]:
            return _CAUSES.get(number, Cause.GONE)
        case _:
            return Cause.GONE
