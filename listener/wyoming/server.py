"""Server of the Wyoming protocol that detects wake words in the audio that a client sends.

One client at a time. The audio is scored and discarded: nothing is kept, sealed or sent on, and
the answer is the name of the wake word and the time of the chunk that completed it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from listener.audio.pcm import SAMPLE_RATE_HZ, Framer, GapReason
from listener.wakeword.detector import StreamDetector, Wake
from listener.wakeword.manifest import Manifest
from listener.wyoming.framing import LONGEST_LINE_BYTES, FramingError, read_event

BUSY: Final = "busy"
"""Code of the error that a second client gets."""
BAD_EVENT: Final = "bad-event"
"""Code of the error for bytes, names and formats that are not valid."""

_SAMPLE_BYTES: Final = 2
_RATES_HZ: Final = range(8_000, 48_001)
_WIDTHS_BYTES: Final = (1, 2, 4)
_CHANNELS: Final = (1, 2)
_MS: Final = 1_000

Report = Callable[[str], None]
"""Takes a message about a connection: never audio, scores or addresses."""


def describe(words: Sequence[Manifest], version: str) -> Info:
    """Return what the server offers, for the event ``info``.

    Args:
        words: manifests of the wake words.
        version: of Earmark.
    """
    earmark = Attribution(name="Earmark", url="")
    models = [
        WakeModel(
            name=word.name,
            attribution=Attribution(name=word.origin, url=""),
            installed=True,
            description=f"wake word {word.name.replace('-', ' ')}",
            version=word.files[0].sha256[:12],
            languages=["en"],
            phrase=word.name.replace("-", " "),
        )
        for word in words
    ]
    return Info(
        wake=[
            WakeProgram(
                name="earmark",
                attribution=earmark,
                installed=True,
                description="wake-word detection that keeps no audio",
                version=version,
                models=models,
            )
        ]
    )


class WakeSession:
    """The events of one client, without its connection. One thread.

    Args:
        detector: at the start of a stream.
        info: answer to ``describe``.
    """

    def __init__(self, detector: StreamDetector, info: Info) -> None:
        self._detector = detector
        self._info = info
        self._framer = Framer()
        self._names: frozenset[str] | None = None
        self._has_detected = False
        self._convert: AudioChunkConverter | None = None

    def answer(self, event: Event) -> list[Event]:
        """Take one event and return the answers to it.

        Raises:
            FramingError: the event's fields are not valid.
        """
        try:
            return self._answer(event)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise FramingError(f"the event {event.type[:32]!r} is not valid") from error

    def wipe(self) -> None:
        """Overwrite all audio and features."""
        self._detector.push(self._framer.cut(GapReason.START))
        self._has_detected = False

    def _answer(self, event: Event) -> list[Event]:
        if Describe.is_type(event.type):
            return [self._info.event()]
        if Ping.is_type(event.type):
            return [Pong(text=Ping.from_event(event).text).event()]
        if Detect.is_type(event.type):
            self._names = self._choose(Detect.from_event(event).names)
        elif AudioStart.is_type(event.type):
            self.wipe()
        elif AudioChunk.is_type(event.type):
            return self._push(AudioChunk.from_event(event))
        elif AudioStop.is_type(event.type):
            has_detected = self._has_detected
            self.wipe()
            return [] if has_detected else [NotDetected().event()]
        return []  # a client may send events of later versions

    def _choose(self, names: object) -> frozenset[str] | None:
        if not names:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FramingError("the names of wake words are not a list of strings")
        wanted = frozenset(name.replace("_", "-") for name in names)
        unknown = wanted - set(self._detector.thresholds)
        if unknown:
            known = ", ".join(self._detector.thresholds)
            raise FramingError(f"an unknown wake word is asked for; this server detects {known}")
        return wanted

    def _push(self, chunk: AudioChunk) -> list[Event]:
        formats = (chunk.rate in _RATES_HZ, chunk.width in _WIDTHS_BYTES)
        if not all(formats) or chunk.channels not in _CHANNELS:
            raise FramingError("audio is 8 to 48 kHz, 8, 16 or 32 bits, mono or stereo")
        if len(chunk.audio) % (chunk.width * chunk.channels):
            raise FramingError("a chunk of audio ends within a sample")
        time_ms = _take_time(chunk.timestamp)
        if self._convert is None:
            self._convert = AudioChunkConverter(SAMPLE_RATE_HZ, _SAMPLE_BYTES, 1)
        samples = np.frombuffer(self._convert.convert(chunk).audio, "<i2").astype(np.int16)
        found = []
        for frame in self._framer.push(samples):
            for result in self._detector.push(frame):
                if isinstance(result, Wake) and (self._names is None or result.word in self._names):
                    self._has_detected = True
                    at_ms = round(result.end_s * _MS) if time_ms is None else time_ms
                    found.append(Detection(name=result.word, timestamp=at_ms).event())
        return found


class WakeServer:
    """Serves one client at a time. For one event loop.

    Args:
        session: makes a session for a client.
        report: takes messages.
    """

    def __init__(self, session: Callable[[], WakeSession], report: Report) -> None:
        self._session = session
        self._report = report
        self._is_busy = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """TCP port in use."""
        if self._server is None:
            raise RuntimeError("the server is not started")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Args:
            host: address to listen at.
            port: TCP port; 0 for a free one.

        Raises:
            OSError: the address cannot be used.
        """
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=2 * LONGEST_LINE_BYTES
        )

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: Any = writer.get_extra_info("socket")
        if peer is not None:
            # A client whose machine lost its power would keep the only place.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            if self._is_busy:
                self._report("a second client was refused")
                text = "another client is connected; this server takes one at a time"
                await async_write_event(Error(text, BUSY).event(), writer)
            else:
                self._is_busy = True
                try:
                    await self._answer_events(reader, writer)
                finally:
                    self._is_busy = False
        self._writers.discard(writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def _answer_events(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        session = self._session()
        try:
            while (event := await read_event(reader)) is not None:
                for answer in session.answer(event):
                    await async_write_event(answer, writer)
        except FramingError as error:
            self._report(f"the client was disconnected: {error}")
            await async_write_event(Error(str(error), BAD_EVENT).event(), writer)
        finally:
            session.wipe()


def _take_time(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise FramingError("the time of a chunk is not a whole number of milliseconds")
    return value
