"""Home Assistant as recogniser, agent and voice, over its WebSocket interface.

The interface is https://developers.home-assistant.io/docs/api/websocket. A connection is dialled
for each command: an idle one dies unseen, and a command must not be lost to it. A command is sent
once and never repeated. The speaker's id in the device registry gives the room, and a whole
clip is sent with ``no_vad``: Home Assistant's own end of speech would cut it.
"""

import contextlib
import http.client
import logging
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from listener.assist.recogniser import AgentResult, OutcomeUnknown, Recognition
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable

NODE: Final = "earmark-"
"""Prefix of a speaker's identifier in MQTT discovery."""
DIAL_S: Final = 3.0
"""Time to connect and to log in."""
RUN_S: Final = 8.0
"""Time for one pipeline run, or for the speech."""
_DEVICES_S: Final = 600.0
"""Time for which ids of the device registry are used."""
_LONGEST_BYTES: Final = 16 << 20
_LONGEST_SOUND_BYTES: Final = 4 << 20
_CHUNK_BYTES: Final = 32 << 10
_HINT: Final = "check assist.url and assist.token_file: earmark doctor"
_FIRST_MIXED: Final = (2025, 7)
_LAST_MIXED: Final = (2026, 10)
_NOT_UNDERSTOOD: Final = frozenset({"no_intent_match", "no_valid_targets"})

# websockets logs frames, which hold text, at the level DEBUG.
_silent_log: Final = logging.getLogger("listener.assist.silent")
_silent_log.disabled = True


@dataclass(frozen=True, slots=True)
class HomeAssistantAddress:
    """Address of Home Assistant, and how to log in.

    Args:
        url: base URL, such as ``http://127.0.0.1:8123``.
        token: returns the access token of an owner, or the general one for an empty name.
        tls: context of the connection; None for ``http``.
    """

    url: str
    token: Callable[[str], str]
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class PipelineInfo:
    """An Assist pipeline."""

    pipeline_id: str
    name: str
    language: str
    stt_engine: str
    tts_engine: str
    tts_language: str
    tts_voice: str


class HomeAssistantSession:
    """One connection that is logged in. For one thread; a context manager.

    Raises:
        Unavailable: Home Assistant cannot be reached, or refuses the token.
    """

    def __init__(self, address: HomeAssistantAddress, owner: str = "") -> None:
        self._number = 0
        self.allow(DIAL_S)
        token = address.token(owner)
        parts = urllib.parse.urlsplit(address.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        where = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/api/websocket"
        with _unavailable():
            self._wire: ClientConnection = connect(
                where,
                ssl=address.tls if scheme == "wss" else None,
                open_timeout=DIAL_S,
                close_timeout=0.5,
                max_size=_LONGEST_BYTES,
                compression=None,
                proxy=None,
                # A connection is used for seconds. The thread that would keep it alive waits for
                # the same thread as `close`, and before Python 3.13 two waits at once can raise
                # AssertionError and RuntimeError.
                ping_interval=None,
                logger=_silent_log,
            )
            # websockets 17 warns of a connection that is not entered; `close` ends it.
            contextlib.ExitStack().enter_context(self._wire)
            try:
                self.version = self._log_in(token)
            except BaseException:
                self._wire.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(WebSocketException, OSError):
            self._wire.close()

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self._wire.state is State.OPEN

    def allow(self, longest_s: float) -> None:
        """Allow the next commands this time together; at first, it is `DIAL_S` with the login."""
        self._until_s = time.monotonic() + longest_s

    def command(self, kind: str, **fields: object) -> Any:  # noqa: ANN401 - JSON of any form
        """Send a command without effects, and return its result.

        Raises:
            Unavailable: it failed.
        """
        with _unavailable():
            number = self._send(kind, fields)
            while True:
                reply = self._receive()
                if reply.get("id") == number and reply.get("type") == "result":
                    if not reply.get("success"):
                        raise Unavailable("Home Assistant refused a request", _HINT)
                    return reply.get("result")

    def run_pipeline(
        self, fields: Mapping[str, object], sound: Samples | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Run a pipeline once; yield type and data of each event up to its end.

        Args:
            fields: of the command ``assist_pipeline/run``.
            sound: int16, shape (n,), 16 kHz; sent when the run has begun.

        Raises:
            WebSocketException, OSError, ValueError: the connection was lost, or is late.
            Unavailable: Home Assistant refused the run, and nothing was done.
        """
        self.allow(RUN_S)
        number = self._send("assist_pipeline/run", fields)
        while True:
            reply = self._receive()
            if reply.get("id") != number:
                continue
            if reply.get("type") == "result":
                if not reply.get("success"):
                    raise Unavailable("Home Assistant refused to run the pipeline", _HINT)
                continue
            event = _dict(reply, "event")
            kind, data = str(event.get("type")), _dict(event, "data")
            yield kind, data
            if kind == "run-end":
                return
            if kind == "stt-start" and sound is not None:
                self._send_sound(sound)
            if kind == "run-start":
                self._handler = int(_dict(data, "runner_data").get("stt_binary_handler_id") or 0)

    def _send_sound(self, sound: Samples) -> None:
        prefix = bytes([self._handler])
        data = sound.astype("<i2", copy=False).data.cast("B")
        for at in range(0, len(data), _CHUNK_BYTES):
            self._wire.send(prefix + data[at : at + _CHUNK_BYTES])
        self._wire.send(prefix)

    def _log_in(self, token: str) -> str:
        version = str(self._receive().get("ha_version", ""))
        self._wire.send(_encode({"type": "auth", "access_token": token}))
        if self._receive().get("type") != "auth_ok":
            raise Unavailable(
                "Home Assistant refuses the access token",
                "create a long-lived access token there and write it into assist.token_file",
            )
        return version

    def _send(self, kind: str, fields: Mapping[str, object]) -> int:
        self._number += 1
        self._wire.send(_encode({"id": self._number, "type": kind, **fields}))
        return self._number

    def _receive(self) -> dict[str, Any]:
        left_s = max(0.0, self._until_s - time.monotonic())
        return msgspec.json.decode(self._wire.recv(timeout=left_s), type=dict[str, Any])


_Prepared = tuple[HomeAssistantSession, str, str, dict[str, object]]
"""Connection, device, owner, and the fields of a run."""


class HomeAssistantRecogniser:
    """Speech to text by a pipeline of Home Assistant.

    Args:
        address: of Home Assistant.
        pipeline: name or id of the pipeline; None for the preferred one.
    """

    def __init__(self, address: HomeAssistantAddress, pipeline: str | None) -> None:
        self._address = address
        self._pipeline = pipeline

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        """Return the text of a clip; see `Recogniser`.

        Raises:
            Unavailable: the pipeline cannot be used.
        """
        del word, is_final
        with HomeAssistantSession(self._address) as session, _unavailable():
            fields: dict[str, object] = {
                "start_stage": "stt",
                "end_stage": "stt",
                "input": {"sample_rate": SAMPLE_RATE_HZ, "no_vad": True},
                "timeout": RUN_S,
            }
            fields |= _pipeline_field(session, self._pipeline)
            for kind, data in session.run_pipeline(fields, samples):
                if kind == "error":
                    if data.get("code") == "stt-no-text-recognized":
                        return None
                    raise Unavailable("Home Assistant's speech to text failed", _HINT)
                if kind == "stt-end":
                    text = str(_dict(data, "stt_output").get("text") or "")
                    return Recognition(text, is_command=False) if text.strip() else None
        return None


class HomeAssistantAgent:
    """Carries commands out by a pipeline of Home Assistant, from ``intent`` on.

    Args:
        address: of Home Assistant.
        pipeline: name or id of the pipeline; None for the preferred one.
        language: language of the commands, such as ``en``.
        monotonic_s: monotonic clock.
    """

    def __init__(
        self,
        address: HomeAssistantAddress,
        pipeline: str | None,
        language: str = "en",
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._pipeline = pipeline
        self._language = language
        self._monotonic_s = monotonic_s
        self._devices: dict[str, str] = {}
        self._devices_s = float("-inf")
        self._prepared: _Prepared | None = None

    def prepare(self, device: str, owner: str) -> None:
        """Connect and log in, so that ``carry_out`` hands over at once.

        A connection that is still open from the last call for the same speaker and owner is kept.

        Args:
            device: name of the speaker.
            owner: short name of the owner whose command follows.

        Raises:
            Unavailable: Home Assistant cannot be reached.
        """
        if (
            self._prepared is not None
            and self.is_connected
            and self._prepared[1:3] == (device, owner)
        ):
            return
        self.release()
        session = HomeAssistantSession(self._address, owner)
        try:
            fields = _pipeline_field(session, self._pipeline)
            if (device_id := self._device_id(session, device)) is not None:
                fields["device_id"] = device_id
        except BaseException:
            session.close()
            raise
        self._prepared = session, device, owner, fields

    @property
    def is_connected(self) -> bool:
        """Whether there is a prepared connection that is open, as far as this side knows."""
        return self._prepared is not None and self._prepared[0].is_open

    def release(self) -> None:
        """Close the prepared connection, if there is one."""
        if self._prepared is not None:
            self._prepared[0].close()
            self._prepared = None

    def is_command(self, text: str, device: str, owner: str) -> bool:
        """Return whether a text is a sentence of Home Assistant; see `CommandMatcher`.

        Home Assistant's own agent matches it without carrying it out. A sentence that it only finds
        similar is not one: what follows may make it another.

        Raises:
            Unavailable: Home Assistant cannot be reached, or has no such agent.
        """
        session, _, _, fields = self._connect(device, owner)
        session.allow(DIAL_S)
        found = session.command(
            "conversation/agent/homeassistant/debug",
            sentences=[text],
            language=self._language,
            device_id=fields.get("device_id"),
        )
        with _unavailable():
            (result,) = found["results"]
            return (
                result is not None
                and result["match"] is True
                and not result.get("fuzzy_match", False)
            )

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        """Carry a command out at most once; see `Agent`.

        Raises:
            Unavailable: it was not handed over.
            OutcomeUnknown: it was handed over, and the connection was lost.
        """
        session, _, _, fields = self._connect(device, owner)
        self._prepared = None
        with session:
            command = {
                "start_stage": "intent",
                "end_stage": "intent",
                "input": {"text": text},
                "timeout": RUN_S,
            }
            try:
                return _result(session, command | fields)
            except (WebSocketException, OSError, ValueError) as error:
                raise OutcomeUnknown("the connection to Home Assistant was lost") from error

    def _connect(self, device: str, owner: str) -> _Prepared:
        """Return the prepared connection, or a new one for another device or owner."""
        self.prepare(device, owner)
        if self._prepared is None:
            raise RuntimeError("prepare returned without a session")
        return self._prepared

    def _device_id(self, session: HomeAssistantSession, device: str) -> str | None:
        """Return the id of a speaker in the device registry, or None if it is not there."""
        now_s = self._monotonic_s()
        if device not in self._devices or now_s - self._devices_s > _DEVICES_S:
            self._devices = {
                name.removeprefix(NODE): str(row["id"])
                for row in session.command("config/device_registry/list") or []
                for domain, name, *_ in row.get("identifiers", [])
                if domain == "mqtt" and str(name).startswith(NODE)
            }
            self._devices_s = now_s
        return self._devices.get(device)


class HomeAssistantVoice:
    """Text to speech by the engine of a pipeline of Home Assistant.

    Args:
        address: of Home Assistant.
        pipeline: name or id of the pipeline; None for the preferred one.
    """

    def __init__(self, address: HomeAssistantAddress, pipeline: str | None) -> None:
        self._address = address
        self._pipeline = pipeline

    def speak(self, text: str) -> bytes:
        """Return a sound file of a text: WAV, where the engine or Home Assistant can make one.

        Raises:
            Unavailable: there is no engine, or it failed.
        """
        with HomeAssistantSession(self._address) as session:
            info = find_pipeline(session, self._pipeline)
        if not info.tts_engine:
            raise Unavailable("the pipeline has no text to speech", "choose one in Home Assistant")
        options: dict[str, object] = {
            "preferred_format": "wav",
            "preferred_sample_rate": 16_000,
            "preferred_sample_channels": 1,
            "preferred_sample_bytes": 2,
        }
        if info.tts_voice:
            options["voice"] = info.tts_voice
        request: dict[str, object] = {
            "engine_id": info.tts_engine,
            "message": text,
            "cache": False,
            "options": options,
        }
        if info.tts_language:
            request["language"] = info.tts_language
        with _unavailable():
            made = msgspec.json.decode(
                self._request("POST", "/api/tts_get_url", _encode(request).encode()),
                type=dict[str, Any],
            )
            path = urllib.parse.urlsplit(str(made.get("path") or made.get("url"))).path
            return self._request("GET", path)

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        parts = urllib.parse.urlsplit(self._address.url)
        wire = (
            http.client.HTTPSConnection(parts.netloc, timeout=RUN_S, context=self._address.tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=RUN_S)
        )
        with contextlib.closing(wire):
            token = self._address.token("")
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            wire.request(method, parts.path.rstrip("/") + path, body, headers)
            answer = wire.getresponse()
            data = answer.read(_LONGEST_SOUND_BYTES + 1)
        if answer.status != http.HTTPStatus.OK or len(data) > _LONGEST_SOUND_BYTES:
            raise Unavailable("Home Assistant's text to speech failed", _HINT)
        return data


def find_pipeline(session: HomeAssistantSession, wanted: str | None) -> PipelineInfo:
    """Return a pipeline by its name or id, or the preferred one.

    Raises:
        Unavailable: there is none of this name.
    """
    listed = session.command("assist_pipeline/pipeline/list") or {}
    chosen = wanted or listed.get("preferred_pipeline")
    for row in listed.get("pipelines", []):
        if chosen in {row.get("id"), row.get("name")}:
            return PipelineInfo(
                pipeline_id=str(row["id"]),
                name=str(row.get("name") or ""),
                language=str(row.get("conversation_language") or row.get("language") or ""),
                stt_engine=str(row.get("stt_engine") or ""),
                tts_engine=str(row.get("tts_engine") or ""),
                tts_language=str(row.get("tts_language") or ""),
                tts_voice=str(row.get("tts_voice") or ""),
            )
    raise Unavailable(
        "Home Assistant has no pipeline of the name in assist.pipeline",
        "set assist.pipeline to the name of a pipeline, or remove it for the preferred one",
    )


def _pipeline_field(session: HomeAssistantSession, wanted: str | None) -> dict[str, object]:
    return {} if wanted is None else {"pipeline": find_pipeline(session, wanted).pipeline_id}


def _result(session: HomeAssistantSession, fields: Mapping[str, object]) -> AgentResult:
    result: AgentResult | None = None
    for kind, data in session.run_pipeline(fields):
        if kind == "error":
            # The intent was not carried out, or broke off: Home Assistant says so itself.
            result = result or AgentResult("failed")
        if kind == "intent-end":
            response = _dict(_dict(data, "intent_output"), "response")
            plain = _dict(_dict(response, "speech"), "plain")
            speech = str(plain.get("speech") or "")
            if response.get("response_type") in {"action_done", "query_answer"}:
                result = AgentResult("done", speech)
            elif _dict(response, "data").get("code") in _NOT_UNDERSTOOD:
                result = AgentResult("not-understood", speech)
            else:
                result = AgentResult("failed", speech)
    if result is None:
        raise ValueError("the run ended without a result")
    return result


def _dict(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _encode(fields: Mapping[str, object]) -> str:
    return msgspec.json.encode(fields).decode()


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Turn errors of the connection into `Unavailable`, without anything that was said."""
    try:
        yield
    except (InvalidURI, InvalidHandshake) as error:
        raise Unavailable("assist.url does not lead to Home Assistant", _HINT) from error
    except OSError as error:
        reason = error.strerror or "no answer in time"
        raise Unavailable(f"cannot reach Home Assistant: {reason}", _HINT) from error
    except (WebSocketException, http.client.HTTPException) as error:
        raise Unavailable("the connection to Home Assistant was lost", _HINT) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unavailable("Home Assistant sent an invalid message", _HINT) from error


def may_mix_rooms(version: str) -> bool:
    """Return whether this version may carry a command out in another speaker's room.

    From 2025.7 to 2026.10 the cache of sentences is keyed without the device, as far as its source
    was read; 2026.2.3 was measured. 2025.6, 2026.11 and unknown versions are taken as right.

    Args:
        version: such as ``2026.11.0``.
    """
    year, _, rest = version.partition(".")
    month = rest.partition(".")[0]
    if not (year.isdecimal() and month.isdecimal()):
        return False
    return _FIRST_MIXED <= (int(year), int(month)) <= _LAST_MIXED
