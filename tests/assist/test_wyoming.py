"""Speech to text by a Wyoming server, whatever it answers."""

from collections.abc import Iterator

import numpy as np
import pytest

from listener.assist.recogniser import Recognition
from listener.assist.wyoming import WyomingRecogniser
from listener.errors import Unavailable
from tests.assist.fake_wyoming import FakeWyoming, running

SOUND = np.arange(58_000, dtype=np.int16)


@pytest.fixture
def fake() -> Iterator[FakeWyoming]:
    with running(FakeWyoming()) as fake:
        yield fake


def recogniser(fake: FakeWyoming) -> WyomingRecogniser:
    return WyomingRecogniser("127.0.0.1", fake.port, "en")


def test_whole_clip_is_sent_and_its_text_returned(fake: FakeWyoming) -> None:
    heard = recogniser(fake).recognise(SOUND, "alexa", is_final=True)

    assert heard == Recognition("Alexa, stop the timer", is_command=False)
    assert fake.sound == SOUND.tobytes()
    kinds = [event["type"] for event in fake.events]
    assert kinds == ["transcribe", "audio-start", *["audio-chunk"] * 4, "audio-stop"]
    assert fake.events[1]["data"] == {"rate": 16_000, "width": 2, "channels": 1}


def test_text_in_separate_data_is_read(fake: FakeWyoming) -> None:
    fake.raw = b'{"type":"ping","payload_length":3}\nabc{"type":"transcript","data_length":13}\n'
    fake.raw += b'{"text":"two"}'[:13] + b"}"
    fake.raw = fake.raw.replace(b'"data_length":13', b'"data_length":14')

    heard = recogniser(fake).recognise(SOUND, "alexa", is_final=True)

    assert heard == Recognition("two", is_command=False)


def test_provisional_part_is_recognised_too(fake: FakeWyoming) -> None:
    heard = recogniser(fake).recognise(SOUND, "alexa", is_final=False)

    assert heard == Recognition("Alexa, stop the timer", is_command=False)


def test_empty_text_is_no_recognition(fake: FakeWyoming) -> None:
    fake.answer = [{"type": "transcript", "data": {"text": ""}}]
    assert recogniser(fake).recognise(SOUND, "alexa", is_final=True) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"\n",
        b"[]\n",
        b'{"type":"transcript"}\n',
        b'{"type":"transcript","data":{"text":1}}\n',
        b'{"type":"error","data":{"text":"no"}}\n',
        b'{"type":"transcript","data_length":-1}\n',
        b'{"type":"transcript","data_length":2000000}\n',
        b'{"type":"transcript","data":[1]}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
        b'{"type":"ping"}\n' * 100_000,
    ],
)
def test_other_answers_are_unavailable(fake: FakeWyoming, raw: bytes) -> None:
    fake.raw = raw

    with pytest.raises(Unavailable, match="Wyoming server"):
        recogniser(fake).recognise(SOUND, "alexa", is_final=True)


def test_missing_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        WyomingRecogniser("127.0.0.1", 1, "en").recognise(SOUND, "alexa", is_final=True)


def test_describe_wants_speech_to_text(fake: FakeWyoming) -> None:
    fake.answer = [{"type": "info", "data": {"asr": [{"name": "x"}]}}]
    recogniser(fake).describe()

    fake.answer = [{"type": "info", "data": {"tts": []}}]
    with pytest.raises(Unavailable, match="offers no speech to text"):
        recogniser(fake).describe()
