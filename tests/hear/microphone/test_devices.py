"""Selection of an input device, and causes of a missing one."""

import ctypes.util
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from listener.hear.microphone import devices
from listener.hear.microphone.devices import (
    InputDevice,
    cause_from_error,
    explain_missing,
    find_default_index,
    list_devices,
    select_devices,
)
from listener.hear.microphone.protocol import Cause

MIC = InputDevice(1, "USB Mic: Audio (hw:1,0)", 1, 48_000)
ARRAY = InputDevice(3, "Array: seeed (hw:2,0)", 4, 16_000)
ALL = (MIC, ARRAY)


class FakeSoundDevice:
    """Fake of sounddevice: the part that lists devices."""

    class Default:
        device = (3, 0)

    default = Default()

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {"name": "HDMI", "max_input_channels": 0, "default_samplerate": 48_000.0},
            {"name": MIC.name, "max_input_channels": 1, "default_samplerate": 48_000.0},
            {"name": "broken", "max_input_channels": 1, "default_samplerate": 0.0},
            {"name": ARRAY.name, "max_input_channels": 4, "default_samplerate": 16_000.0},
        ]


def test_devices_with_an_input_are_listed() -> None:
    assert list_devices(FakeSoundDevice()) == ALL
    assert find_default_index(FakeSoundDevice()) == 3


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ("default", (ARRAY,)),
        ("1", (MIC,)),
        ("2", ()),
        ("usb mic", (MIC,)),
        ("hw:", (MIC, ARRAY)),
        (ARRAY.name, (ARRAY,)),
        ("", (MIC, ARRAY)),
        ("camera", ()),
    ],
)
def test_device_is_selected_by_default_index_or_part_of_name(
    wanted: str, matches: tuple[InputDevice, ...]
) -> None:
    assert select_devices(ALL, wanted, 3) == matches


def test_exact_name_has_priority_over_part_of_a_name() -> None:
    long, short = InputDevice(0, "Mic: mono (hw:0,0)", 1, 48_000), InputDevice(1, "Mic", 1, 48_000)

    assert select_devices((long, short), "Mic", 0) == (short,)
    assert select_devices((long, short), "mic", 0) == (long, short)


def test_default_matches_a_name_where_no_default_device_is_set() -> None:
    named = InputDevice(4, "default", 2, 44_100)

    assert select_devices((MIC, named), "default", -1) == (named,)
    assert select_devices((MIC,), "default", -1) == ()


def asound(tmp_path: Path, cards: str) -> tuple[str, str]:
    (tmp_path / "snd").mkdir()
    node = tmp_path / "snd" / "pcmC1D0c"
    node.touch()
    (tmp_path / "cards").write_text(cards, "utf-8")
    return str(tmp_path), str(tmp_path / "snd")


CARDS = " 1 [Mic            ]: USB-Audio - USB Mic\n"


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        ("usb mic", Cause.BUSY),
        ("USB Mic: Audio (hw:1,0)", Cause.BUSY),
        ("default", Cause.BUSY),
        ("camera", Cause.MISSING),
        ("7", Cause.MISSING),
    ],
)
def test_card_that_portaudio_omits_is_busy(tmp_path: Path, wanted: str, cause: Cause) -> None:
    assert explain_missing(wanted, *asound(tmp_path, CARDS)) is cause


def test_device_is_missing_without_any_card(tmp_path: Path) -> None:
    assert explain_missing("default", str(tmp_path), str(tmp_path / "snd")) is Cause.MISSING
    (tmp_path / "snd").mkdir()
    assert explain_missing("default", str(tmp_path), str(tmp_path / "snd")) is Cause.MISSING


def test_device_is_missing_without_a_list_of_cards(tmp_path: Path) -> None:
    proc, dev = asound(tmp_path, CARDS)
    (tmp_path / "cards").unlink()

    assert explain_missing("usb mic", proc, dev) is Cause.MISSING


def test_unreadable_card_is_denied(tmp_path: Path) -> None:
    proc, dev = asound(tmp_path, CARDS)
    (tmp_path / "snd" / "pcmC1D0c").unlink()
    # Root may read every file, but not one that is not there.
    (tmp_path / "snd" / "pcmC1D0c").symlink_to("nowhere")

    assert explain_missing("usb mic", proc, dev) is Cause.DENIED


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("Invalid sample rate", -9997), Cause.RATE),
        (("Invalid number of channels", -9998), Cause.CHANNEL),
        (("Device unavailable", -9985), Cause.BUSY),
        (("Invalid device", -9996), Cause.MISSING),
        (("Host error", -9999, (0, -errno.EBUSY, "busy")), Cause.BUSY),
        (("Host error", -9999, (0, -errno.EACCES, "no")), Cause.DENIED),
        (("Host error", -9999, (0, -errno.ENOENT, "none")), Cause.MISSING),
        (("Host error", -9999, (0, -errno.ENODEV, "gone")), Cause.GONE),
        (("Host error", -9999), Cause.GONE),
        (("Something else", -9000), Cause.GONE),
        (("without a number",), Cause.GONE),
        ((), Cause.GONE),
    ],
)
def test_portaudio_errors_map_to_causes(arguments: tuple[object, ...], cause: Cause) -> None:
    assert cause_from_error(Exception(*arguments)) is cause


@pytest.mark.system
def test_portaudio_is_loaded_without_starting_a_process() -> None:
    before = ctypes.util.find_library

    sound = devices.load_portaudio()

    assert sound is sys.modules["sounddevice"]
    assert ctypes.util.find_library is before


def test_missing_portaudio_library_is_reported() -> None:
    load = (
        "from listener.hear.microphone.devices import load_portaudio;"
        " load_portaudio('libportaudio-absent.so.9')"
    )

    # In a process of its own: this one has loaded it already.
    process = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, check=False
    )

    assert process.returncode == 1
    assert "Unavailable: the library PortAudio is not installed" in process.stderr
