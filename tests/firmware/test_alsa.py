"""The ALSA configuration with its library and PortAudio; a file replaces the card."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.hear.microphone.protocol import HEADER, RecordType
from tests import cards

SETTINGS = Path(__file__).parents[2] / "firmware" / "alsa" / "60-earmark.conf"
CARD = "hw:CARD=earmark,DEV=0"
NAME = "earmark_microphone"

pytestmark = pytest.mark.system


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the I2S card plays: two slots of 32 bits."""
    file = tmp_path / "sound.raw"
    settings = Path(cards.write_settings(tmp_path, stand_in=cards.of_file(file)))
    ours = SETTINGS.read_text("utf-8")
    assert ours.count(CARD) == 1
    settings.write_text(settings.read_text("utf-8") + ours.replace(CARD, "stand_in"), "utf-8")
    monkeypatch.setenv(cards.VARIABLE, str(settings))
    return file


def slots(left: Samples, right: int) -> bytes:
    """A frame as the microphone clocks it out: 16 bits and the 16 below them, in each slot."""
    frames = np.empty((len(left), 2), "<i4")
    frames[:, 0] = left.astype(np.int32) << 16
    frames[:, 1] = right
    return frames.tobytes()


def heard(length: int) -> Samples:
    command = [
        *(
            sys.executable,
            "-m",
            "listener.hear.microphone.process",
            f"--device={NAME}",
            "--channel=0",
        ),
        *(f"--rate-hz={SAMPLE_RATE_HZ}", f"--block-samples={FRAME_SAMPLES}"),
        f"--parent={os.getpid()}",
    ]
    data = bytearray()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        kind, size = HEADER.unpack(process.stdout.read(HEADER.size))
        assert kind == RecordType.OPENED, process.stdout.read(size)
        assert np.frombuffer(process.stdout.read(size), "<u4").tolist() == [SAMPLE_RATE_HZ, 1]
        while len(data) < 2 * length:
            _, size = HEADER.unpack(process.stdout.read(HEADER.size))
            data += process.stdout.read(size)
        process.stdout.close()
    return np.frombuffer(data, "<i2")[:length]


def test_left_slot_is_amplified_18_db_and_right_slot_dropped(
    sound: Path,
) -> None:
    # The stand-in leaves samples out where ALSA asks for them in pieces: values tell, not order.
    spoken = np.tile(np.array([1, -1, 77, -300, 4_000, -4_000], np.int16), SAMPLE_RATE_HZ)
    sound.write_bytes(slots(spoken, right=0x3FFF_0000))

    assert set(heard(SAMPLE_RATE_HZ).tolist()) == {8, -8, 616, -2_400, 32_000, -32_000}


def test_loud_audio_clips_and_does_not_wrap(sound: Path) -> None:
    shouted = np.tile(np.array([30_000, -30_000], np.int16), SAMPLE_RATE_HZ // 2)
    sound.write_bytes(slots(shouted, right=0))

    assert set(heard(SAMPLE_RATE_HZ).tolist()) == {32_767, -32_768}


def test_cut_microphone_gives_digital_silence(sound: Path) -> None:
    sound.write_bytes(slots(np.zeros(SAMPLE_RATE_HZ, np.int16), right=0))

    assert not heard(SAMPLE_RATE_HZ).any()
