"""End of speech to the light: hear, send, mosquitto and assist on one computer, in real time.

Synthetic voices say commands to a recording that `hear` takes as its microphone. Measured with a
stand-in for Home Assistant's WebSocket interface and a recogniser that answers at once with a fixed
text, and on packages alone; both also without provisional parts. The end of speech is that of the
recording: the last 20 ms less than 30 dB below the command's level. The stages come from
`stamped_hear` and `stamped_assist`, which run the two real commands, and from the broker.
"""

import json
import os
import shutil
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import paho.mqtt.client as mqtt
import pyrage
import soundfile
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks import stage_times
from benchmarks.assist.voices import speak
from benchmarks.figures import STAGES, percentile
from benchmarks.processes import earmark, mosquitto, peak_rss_mib, running
from benchmarks.sounds import ROOT, quiet_room
from listener.assist.understanding import model_files
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.errors import Unavailable
from listener.mqtt.paho_thread import stop_network_thread
from listener.storage.home import Home
from listener.voice.consent import Consent, encode_consents, make_consent
from tests.assist import fake_home_assistant, fake_wyoming

CLIPS: Final = 30
SPEAKER: Final = "kitchen"
OWNER: Final = "ada"
_PLAN: Final = ROOT / "benchmarks" / "assist" / "plan.toml"
_HOME_FILE: Final = ROOT / "docs" / "reference" / "home.example.toml"
_WORK: Final = ROOT / "build" / "assist"
_SENTENCES: Final = (
    "turn on the kitchen light",
    "turn off the kitchen light",
    "turn on the lights in the bedroom",
    "turn on the floor lamp",
    "switch on the bedroom light",
    "switch off the floor lamp",
)
_TEXT: Final = "Alexa, turn on the lights."
_LEAD_S: Final = 3.0
_GAP_S: Final = {
    "home_assistant": 3.5,
    "parts": 3.5,
    "packages": 5.0,
    "packages_parts": 5.0,
}
"""Quiet after each command, longer than its act takes: a stage belongs to one command."""
_LIMIT_S: Final = 60.0
_ANSWERS_S: Final = 5.0
"""Time after its start in which assist answers no ask, and more."""
_BLOCK: Final = SAMPLE_RATE_HZ // 50
_SPEECH_DB: Final = 30

_COPY: Final = "copy"
_LIGHT: Final = "light"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A spoken command in the recording, in seconds from its start."""

    began_s: float
    ended_s: float
    change: str
    """Topic and payload that carry it out."""


@dataclass(frozen=True, slots=True)
class Event:
    """A stage that was reached, on CLOCK_MONOTONIC."""

    stage: str
    at_s: float
    change: str = ""


def measure(say: Say) -> dict[str, Any]:
    """Return the latency of each way by stage, in ms, and the memory of its processes, in MiB.

    Args:
        say: called with each line of progress.

    Raises:
        Unavailable: the speech model is missing.
    """
    if not (model_files.model_folder(_WORK) / model_files.WEIGHTS).exists():
        model_files.download(model_files.model_folder(_WORK))
    found: dict[str, Any] = {"home_assistant_is": "a stand-in"}
    for way in _GAP_S:
        with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
            try:
                found[way] = _Trial(Path(name), way).run(say)
            except Unavailable as error:
                say(f"NOT MEASURED  {way}: {error}")
                found[way] = {"skipped": str(error)}
    return found


def find_end(samples: Samples) -> int:
    """Return the end of the speech in a clip without noise.

    Args:
        samples: int16, shape (n,), 16 kHz.
    """
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].astype(np.float64)
    level_db = 10 * np.log10((blocks.reshape(-1, _BLOCK) ** 2).mean(axis=1) + 1)
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) - _SPEECH_DB)
    return int(loud[-1] + 1) * _BLOCK


def split_stages(
    commands: Sequence[Command], start_s: float, events: Sequence[Event]
) -> list[dict[str, float]]:
    """Return the stages of each command, in ms, as far as it came; ``light`` is their sum.

    A command that did not reach its light has no ``light``.

    Args:
        commands: in the order of the recording.
        start_s: time at which the recording starts.
        events: all stages of all commands.
    """
    until_s = [*(each.began_s for each in commands[1:]), float("inf")]
    return [
        _split(
            start_s + command.ended_s,
            command.change,
            [e for e in events if start_s + command.began_s <= e.at_s < start_s + end_s],
        )
        for command, end_s in zip(commands, until_s, strict=True)
    ]


def _split(ended_s: float, change: str, events: Sequence[Event]) -> dict[str, float]:
    lights = (e.at_s for e in events if e.stage == _LIGHT and e.change in ("", change))
    light_s = min(lights, default=None)
    order = (stage_times.ENDPOINT, _COPY, stage_times.OPENED, stage_times.RECOGNISED)
    # What was acted on is the last before the light; a confirmed part was opened before that.
    times_s = [
        max(
            (e.at_s for e in events if e.stage == s and (not light_s or e.at_s <= light_s)),
            default=None,
        )
        for s in order
    ]
    steps: dict[str, float] = {}
    before_s = ended_s
    for stage, at_s in zip(STAGES, [*times_s, light_s], strict=True):
        if at_s is None:
            return steps
        # A stage of a confirmed part was over before the confirmation; an early endpoint shows.
        reached_s = max(at_s, before_s) if steps else at_s
        steps[stage] = (reached_s - before_s) * 1000
        before_s = reached_s
    return steps | {"light": (before_s - ended_s) * 1000}


class _Trial:
    """One way from speech to the light, in a new household."""

    def __init__(self, folder: Path, way: str) -> None:
        self._folder = folder
        self._way = way
        self._events: list[Event] = []
        self._stamps = {name: folder / f"{name}.stamps" for name in ("hear", "assist")}
        self._speaker = Home(folder / "speaker")
        self._hub = Home(folder / "hub")
        self._identity = pyrage.x25519.Identity.generate()

    def run(self, say: Say) -> dict[str, Any]:
        """Return the figures."""
        commands = self._record()
        self._add_owner()
        with mosquitto(self._folder) as port, self._watch(port) as client:
            self._configure(port)
            with running(earmark("send", "--config", str(self._folder / "speaker.toml"))) as send:
                client.publish(self._consents_topic, self._consents(), qos=1, retain=True)
                stored = self._speaker.path / "spool" / "consents.json"
                _wait(stored.exists, "send has stored the consent")
                with self._assisting(port), running(self._run_assist()) as assist:
                    _wait(lambda: self._at(stage_times.READY) is not None, "assist is ready")
                    time.sleep(_ANSWERS_S)
                    say(f"{self._way}: {commands[-1].ended_s:.0f} s in real time")
                    before = os.getloadavg()[0]
                    peaks_mib = {"hear": self._listen(commands)}
                    load = (before + os.getloadavg()[0]) / 2
                    peaks_mib["send"] = peak_rss_mib(send.pid) or 0
                    peaks_mib["assist"] = _tree_peak_mib(assist.pid)
        figures = self._sum_up(self._rows(commands), load) | {
            f"{process}_mib": round(peak_mib, 1) for process, peak_mib in peaks_mib.items()
        }
        say(f"{self._way}: {json.dumps(figures)}")
        return figures

    @property
    def _has_parts(self) -> bool:
        return self._way.endswith("parts")

    @property
    def _is_packages(self) -> bool:
        return self._way.startswith("packages")

    @property
    def _consents_topic(self) -> str:
        return f"earmark/v1/consents/{SPEAKER}"

    def _record(self) -> list[Command]:
        """Write the recording; the first command is the warm-up."""
        plan = tomllib.loads(_PLAN.read_text("utf-8"))
        voices = [(engine, voice) for engine, named in plan["voices"].items() for voice in named]
        gap_s = _GAP_S[self._way]
        parts: list[Samples] = [np.zeros(round(_LEAD_S * SAMPLE_RATE_HZ), np.int16)]
        commands, at = [], len(parts[0])
        for text in _SENTENCES:
            for engine, voice in voices:
                clip = speak(engine, voice, f"Alexa, {text}.", _WORK / "clips")
                clip = clip[: find_end(clip)]
                change = plan["sentences"][text][0] if self._is_packages else ""
                commands.append(
                    Command(at / SAMPLE_RATE_HZ, (at + len(clip)) / SAMPLE_RATE_HZ, change)
                )
                parts += [clip, np.zeros(round(gap_s * SAMPLE_RATE_HZ), np.int16)]
                at += len(clip) + len(parts[-1])
        sound = np.concatenate(parts)
        sound = sound + quiet_room(len(sound) / SAMPLE_RATE_HZ)
        soundfile.write(self._folder / "commands.wav", sound, SAMPLE_RATE_HZ)
        return commands

    def _add_owner(self) -> None:
        recipient, now_s = str(self._identity.to_public()), int(time.time())
        device = keys.device_text(self._speaker.device_key().public_key())
        for home in (self._speaker, self._hub):
            home.change_roster(
                lambda roster: (
                    roster.with_owner(OWNER, recipient)
                    .with_challenge(OWNER, "proven", now_s)
                    .with_confirmation(OWNER, "proven", now_s)
                )
            )
        self._hub.change_roster(lambda roster: roster.with_device(SPEAKER, device))

    def _consents(self) -> bytes:
        (owner,) = parse_identities(str(self._identity).encode(), "the owner's")
        consent = Consent(
            assist=keys.device_text(self._hub.assist_key().public_key()),
            device=SPEAKER,
            n=1,
            okey=owner.okey,
            on=1,
            owner=OWNER,
        )
        device_key = self._speaker.device_key().public_key()
        return encode_consents([make_consent(consent, owner.agreement(), device_key)])

    def _configure(self, port: int) -> None:
        broker = f'[broker]\nhost = "127.0.0.1"\nport = {port}\n'
        (self._folder / "speaker.toml").write_text(
            f'home = "{self._speaker.path}"\n[device]\nname = "{SPEAKER}"\n'
            f'[attribution]\nkeeper = "{OWNER}"\n{broker}'
            f"[clip]\nprovisional_parts = {str(self._has_parts).lower()}\n",
            "utf-8",
        )
        (self._folder / "hub.toml").write_text(f'home = "{self._hub.path}"\n{broker}', "utf-8")

    @contextmanager
    def _assisting(self, port: int) -> Iterator[None]:
        """Complete the configuration of assist; run what it needs."""
        settings = self._folder / "hub.toml"
        if self._is_packages:
            home_file = self._folder / "home.toml"
            text = _HOME_FILE.read_text("utf-8")
            home_file.write_text(text.replace("port = 1883", f"port = {port}"), "utf-8")
            shutil.copytree(
                model_files.model_folder(_WORK), model_files.model_folder(self._hub.path)
            )
            with settings.open("a") as out:
                out.write(
                    '[assist]\nagent = "built-in"\nrecogniser = "built-in"\nvoice = "none"\n'
                    f'home_file = "{home_file}"\n'
                )
            yield
            return
        home_assistant, recogniser = (
            fake_home_assistant.FakeHomeAssistant(),
            fake_wyoming.FakeWyoming(),
        )
        home_assistant.lights = _Lights(self._events.append)
        recogniser.answer = [{"type": "transcript", "data": {"text": _TEXT}}]
        token = self._folder / "token"
        token.write_text(fake_home_assistant.TOKEN)
        token.chmod(0o600)
        with fake_home_assistant.running(home_assistant), fake_wyoming.running(recogniser):
            with settings.open("a") as out:
                out.write(
                    f'[assist]\nurl = "{home_assistant.url}"\ntoken_file = "{token}"\n'
                    f'recogniser = "wyoming"\nwyoming_port = {recogniser.port}\nvoice = "none"\n'
                )
            yield

    @contextmanager
    def _watch(self, port: int) -> Iterator[mqtt.Client]:
        """Note the command copies and the messages to lights."""
        ready = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)

        def note(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            at_s = time.monotonic()
            if message.topic.startswith("earmark/"):
                self._events.append(Event(_COPY, at_s))
            else:
                change = f"{message.topic} {message.payload.decode()}"
                self._events.append(Event(_LIGHT, at_s, change))

        client.on_message = note
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", port)
        client.subscribe([(each, 1) for each in ("earmark/v1/spoken/#", "zigbee2mqtt/#", "cmnd/#")])
        client.loop_start()
        try:
            ready.wait(_LIMIT_S)
            yield client
        finally:
            client.disconnect()
            stop_network_thread(client)

    def _run_assist(self) -> list[str]:
        return self._stamped("assist", "--config", str(self._folder / "hub.toml"))

    def _stamped(self, command: str, *arguments: str) -> list[str]:
        program = earmark()
        program[-1] = f"benchmarks.stamped_{command}"
        return [*program, str(self._stamps[command]), *arguments]

    def _listen(self, commands: Sequence[Command]) -> float:
        """Run hear until it has played the recording, or enough commands reached the light.

        Returns:
            Peak memory of hear, in MiB.
        """
        peak_mib = 0.0
        sound = str(self._folder / "commands.wav")
        settings = str(self._folder / "speaker.toml")
        with running(self._stamped("hear", "--config", settings, "--microphone", sound)) as hear:
            while hear.poll() is None and self._count_reached(commands) < CLIPS:
                peak_mib = max(peak_mib, peak_rss_mib(hear.pid) or 0)
                time.sleep(1)
            if hear.poll():
                raise Unavailable(f"earmark hear exited with code {hear.returncode}")
        return peak_mib

    def _at(self, stage: str) -> float | None:
        stamps = [each for file in self._stamps.values() for each in stage_times.read_stamps(file)]
        return next((at_s for name, at_s in stamps if name == stage), None)

    def _count_reached(self, commands: Sequence[Command]) -> int:
        return sum(map(_counts, self._rows(commands)))

    def _rows(self, commands: Sequence[Command]) -> list[dict[str, float]]:
        """Return the stages of the commands, without the warm-up, up to the last that counts."""
        start_s = self._at(stage_times.START)
        if start_s is None:
            return []
        events = [
            Event(*each) for file in self._stamps.values() for each in stage_times.read_stamps(file)
        ]
        rows = split_stages(commands, start_s, [*events, *self._events])[1:]
        reached = [number for number, row in enumerate(rows) if _counts(row)]
        return rows[: reached[CLIPS - 1] + 1] if len(reached) >= CLIPS else rows

    def _sum_up(self, rows: Sequence[dict[str, float]], load: float) -> dict[str, Any]:
        reached = [row for row in rows if _counts(row)]
        # The first stage that a command did not reach; its light was not switched, or another one.
        lost = Counter(
            next((stage for stage in STAGES if stage not in row), "early")
            for row in rows
            if row not in reached
        )
        if len(reached) < CLIPS:
            raise Unavailable(f"{len(reached)} of {len(rows)} commands reached the light: {lost}")
        figures: dict[str, Any] = {"clips": CLIPS, "said": len(rows), "load": round(load, 2)}
        figures["lost"] = dict(lost)
        for name in ("light", *STAGES):
            for percent in (50, 95):
                value = percentile((row[name] for row in reached), percent)
                figures[f"{name}_p{percent}_ms"] = round(value, 1)
        return figures


def _counts(row: dict[str, float]) -> bool:
    """Return whether a command reached its light, and not before it was said."""
    return row.get("light", 0) > 0


class _Lights(list[str]):
    """Lights of the stand-in, which notes when each is switched."""

    def __init__(self, note: Callable[[Event], object]) -> None:
        super().__init__()
        self._note = note

    def append(self, area: str) -> None:
        """Switch the light of an area on."""
        self._note(Event(_LIGHT, time.monotonic()))
        super().append(area)


def _tree_peak_mib(pid: int) -> float:
    """Return the sum of the peaks of a process and its children; their common pages count twice."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = [int(child) for file in children for child in file.read_text("ascii").split()]
    return (peak_rss_mib(pid) or 0) + sum(_tree_peak_mib(child) for child in below)


def _wait(is_true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + _LIMIT_S
    while not is_true():
        if time.monotonic() > until_s:
            raise Unavailable(f"not within {_LIMIT_S:.0f} s: {what}")
        time.sleep(0.05)
