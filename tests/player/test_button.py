"""Stop button: key presses of an input device, here a FIFO."""

import os
import struct
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.player.button import StopButton

EVENT = struct.Struct("llHHi")


def event(kind: int, value: int) -> bytes:
    return EVENT.pack(1, 2, kind, 128, value)


def test_press_is_reported_once_and_a_release_is_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "node")
    button = StopButton(tmp_path / "node")
    writer = os.open(tmp_path / "node", os.O_WRONLY)
    assert not button.was_pressed()

    os.write(writer, event(1, 0) + event(0, 0))
    assert not button.was_pressed()
    os.write(writer, event(1, 1) + event(0, 0) + event(1, 0))
    assert button.was_pressed()
    assert not button.was_pressed()
    os.write(writer, event(2, 1))
    assert not button.was_pressed(), "a movement is not a key"

    os.close(writer)
    assert not button.was_pressed(), "a device that is gone has no press"
    button.close()


def test_missing_device_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot open the button"):
        StopButton(tmp_path / "missing")
