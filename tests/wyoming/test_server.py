"""The Wyoming server with the protocol's own client, and with hostile bytes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.wake import Detect, Detection

from listener.audio.pcm import Samples
from listener.config import WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wyoming.framing import FramingError, read_event
from listener.wyoming.server import BAD_EVENT, BUSY, WakeServer, WakeSession, describe

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CHUNK_SAMPLES = 1024
Talk = Callable[[AsyncTcpClient], Awaitable[None]]


@pytest.fixture(scope="module")
def start_session() -> Callable[[], WakeSession]:
    catalogue = Catalogue(Path("/nonexistent"))
    words = [catalogue.load(name) for name in ("alexa", "hey-jarvis")]
    info = describe([word.manifest for word in words], "1.2.3")
    embedding = catalogue.embedding()
    return lambda: WakeSession(
        build_detector(words, embedding, WakeSettings(words=("alexa", "hey-jarvis"))), info
    )


@pytest.fixture(scope="module")
def session(start_session: Callable[[], WakeSession]) -> WakeSession:
    return start_session()


def serve(start_session: Callable[[], WakeSession], talk: Talk) -> list[str]:
    """Talk to a server; return its messages."""
    said: list[str] = []

    async def run() -> None:
        server = WakeServer(start_session, said.append)
        await server.start("127.0.0.1", 0)
        try:
            async with AsyncTcpClient("127.0.0.1", server.port) as client:
                await asyncio.wait_for(talk(client), 50)
        finally:
            await server.close()

    asyncio.run(run())
    return said


async def next_event(client: AsyncTcpClient) -> Event:
    event = await client.read_event()
    assert event is not None
    return event


async def play(client: AsyncTcpClient, samples: Samples, rate_hz: int = 16_000) -> None:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    await client.write_event(AudioStart(rate_hz, 2, channels).event())
    for at in range(0, len(samples), CHUNK_SAMPLES):
        block = samples[at : at + CHUNK_SAMPLES].tobytes()
        chunk = AudioChunk(rate_hz, 2, channels, block, timestamp=round(at * 1000 / rate_hz))
        await client.write_event(chunk.event())
    await client.write_event(AudioStop().event())


def sound(name: str) -> Samples:
    samples: Samples = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
    return samples


def test_client_is_told_the_wake_words(start_session: Callable[[], WakeSession]) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(Describe().event())
        info = Info.from_event(await next_event(client))
        assert [model.name for model in info.wake[0].models] == ["alexa", "hey-jarvis"]
        await client.write_event(Ping(text="x").event())
        assert (await next_event(client)).data["text"] == "x"

    assert serve(start_session, talk) == []


def test_wake_word_is_detected_in_each_stream(start_session: Callable[[], WakeSession]) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        for _ in range(2):
            await client.write_event(Detect(names=["alexa"]).event())
            await play(client, sound("alexa"))
            found = Detection.from_event(await next_event(client))
            assert found.name == "alexa"
            assert found.timestamp is not None
            assert 1_500 < found.timestamp < 4_000

    serve(start_session, talk)


def test_stream_without_the_word_is_answered_at_its_end(
    start_session: Callable[[], WakeSession],
) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await play(client, sound("talk")[:64_000])
        assert (await next_event(client)).type == "not-detected"

    serve(start_session, talk)


def test_word_that_was_not_asked_for_is_not_reported(
    start_session: Callable[[], WakeSession],
) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(Detect(names=["hey_jarvis"]).event())
        await play(client, sound("alexa"))
        assert (await next_event(client)).type == "not-detected"

    serve(start_session, talk)


def test_other_sample_rate_and_stereo_are_converted(
    start_session: Callable[[], WakeSession],
) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        word = np.repeat(sound("alexa"), 3)
        await play(client, np.stack([word, word], axis=1), 48_000)
        assert Detection.from_event(await next_event(client)).name == "alexa"

    serve(start_session, talk)


def test_second_client_is_refused_and_the_first_goes_on(
    start_session: Callable[[], WakeSession],
) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(Ping().event())
        await next_event(client)
        async with AsyncTcpClient(client.host, client.port) as second:
            error = Error.from_event(await next_event(second))
            assert error.code == BUSY
            assert await second.read_event() is None
        await client.write_event(Ping().event())
        assert (await next_event(client)).type == "pong"

    assert serve(start_session, talk) == ["a second client was refused"]


@pytest.mark.parametrize(
    "event",
    [
        Detect(names=["computer"]).event(),
        Event("audio-chunk", {"rate": 16_000, "width": 2}, b"xx"),
        Event("audio-chunk", {"rate": 16_000, "width": 3, "channels": 1}, b"xxx"),
        Event("audio-chunk", {"rate": 16_000, "width": 2, "channels": 1}, b"xxx"),
        Event("audio-chunk", {"rate": 0, "width": 2, "channels": 1}, b"xx"),
        Event("audio-chunk", {"rate": "fast", "width": 2, "channels": 1}, b"xx"),
        Event("audio-chunk", {"rate": 16_000, "width": 2, "channels": 1, "timestamp": "x"}, b"xx"),
        Event("detect", {"names": 7}),
        Event("detect", {"names": [7]}),
    ],
)
def test_invalid_event_gets_one_error_and_ends_the_connection(
    start_session: Callable[[], WakeSession], event: Event
) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(event)
        assert Error.from_event(await next_event(client)).code == BAD_EVENT
        assert await client.read_event() is None

    assert len(serve(start_session, talk)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
EVENTS = st.builds(
    Event,
    st.sampled_from(["detect", "audio-start", "audio-chunk", "audio-stop", "ping", "describe"]),
    st.dictionaries(
        st.sampled_from(["rate", "width", "channels", "timestamp", "names", "text", "context"]),
        JSON,
    ),
    st.none() | st.binary(max_size=64),
)


@given(events=st.lists(EVENTS, max_size=4))
def test_any_fields_are_answered_or_refused(session: WakeSession, events: list[Event]) -> None:
    for event in events:
        try:
            answers = session.answer(event)
        except FramingError:
            continue
        assert all(isinstance(answer, Event) for answer in answers)


def read_all(data: bytes) -> list[Event]:
    async def run() -> list[Event]:
        reader = asyncio.StreamReader(limit=16 << 10)
        reader.feed_data(data)
        reader.feed_eof()
        events = []
        while (event := await read_event(reader)) is not None:
            events.append(event)
        return events

    return asyncio.run(run())


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_one_error(data: bytes) -> None:
    try:
        assert read_all(data) == []
    except FramingError:
        assert data


@given(
    head=st.dictionaries(
        st.sampled_from(["type", "data", "data_length", "payload_length"]), JSON, min_size=1
    ),
    rest=st.binary(max_size=40),
)
def test_arbitrary_heads_are_refused_or_read(head: dict[str, Any], rest: bytes) -> None:
    try:
        events = read_all(json.dumps(head).encode() + b"\n" + rest)
    except FramingError:
        return
    assert all(isinstance(event.type, str) for event in events)


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"ping","data_length":65537}\n',
        b'{"type":"ping","payload_length":1048577}\n' + bytes(100),
        b'{"type":"ping","payload_length":-1}\n',
        b'{"type":"ping","payload_length":true}\n',
        b'{"type":"ping","payload_length":10}\nshort',
        b'{"type":"' + b"x" * 9_000 + b'"}\n',
        b"x" * 40_000,
        b"[" * 100_000 + b"\n",
        b'{"data":{}}\n',
        b'{"type":"ping","data":[]}\n',
    ],
)
def test_oversized_and_incomplete_events_are_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        read_all(data)
