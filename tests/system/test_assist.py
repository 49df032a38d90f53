"""`earmark assist` as a process, with a real broker: what it keeps, and what a replay does."""

import base64
import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from paho.mqtt.enums import CallbackAPIVersion

from listener.assist.service import ANNOUNCE_S
from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.ipc.voice_paths import HOME_FOLDER, REPLY_KEY
from listener.mqtt.paho_thread import stop_network_thread
from listener.selftest.memory import MemorySnapshot, parse_maps, snapshot_memory
from listener.selftest.processes import freeze, process_tree
from listener.selftest.watermark import BLOCK_SAMPLES, Watermark
from listener.storage.home import Home
from listener.voice import timing
from listener.voice.command_copy import parse_copy
from listener.voice.consent import Consent, encode_consents, make_consent
from listener.voice.messages import Answer, Outcome
from tests import cards
from tests.assist import fake_home_assistant, fake_wyoming
from tests.assist.fake_home_assistant import TOKEN, FakeHomeAssistant
from tests.assist.fake_wyoming import FakeWyoming
from tests.assist.speaker import Speaker

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
BLOCKS = 2_000  # 2 s
SECRET_BYTES = 32
PIECE_BYTES = 64
WORDS = ("zyxomma", "quillwort", "glimmerwick")
"""Words of the command and of the reply that nothing else has."""
SWAP_BYTES = 64 << 20
ATTEMPTS = 5
PROCESS_MADVISE = 440  # the number of the system call on every architecture
MADV_PAGEOUT = 21

SPEECH = {
    text: np.random.default_rng(seed).integers(-9_000, 9_000, 8_000).astype(np.int16)
    for seed, text in enumerate(("Dinner is ready", "Good night"))
}
"""The sound that stands for the speech of each text; noise has no pause."""


class Line:
    """The speaker's connection to the broker, which records what everyone says."""

    def __init__(self, speaker: Speaker, port: int) -> None:
        self.speaker = speaker
        self.heard: list[Answer | Outcome | None] = []
        self.replies: list[bytes] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "d-kitchen")
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_arguments: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(30)

    def say(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload).wait_for_publish(30)

    def answer(self, nonce: str) -> Answer | None:
        answers = (one for one in self.heard if isinstance(one, Answer))
        return next((one for one in answers if one.ask == nonce), None)

    def outcomes(self) -> list[str]:
        return [one.outcome for one in self.heard if isinstance(one, Outcome)]

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)

    def _on_connect(self, *_arguments: object) -> None:
        self._client.subscribe([("earmark/v1/answer/kitchen", 0), ("earmark/v1/say/kitchen", 0)])

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("earmark/v1/say"):
            self.replies.append(bytes(message.payload))
        else:
            self.heard.append(self.speaker.understand(bytes(message.payload)))


@pytest.fixture
def home_assistant() -> Iterator[FakeHomeAssistant]:
    with fake_home_assistant.running(FakeHomeAssistant()) as fake:
        yield fake


@pytest.fixture
def wyoming() -> Iterator[FakeWyoming]:
    with fake_wyoming.running(FakeWyoming()) as fake:
        fake.answer = [{"type": "transcript", "data": {"text": "Alexa, turn on the lights."}}]
        yield fake


@pytest.fixture
def kitchen(household: object, home: Path) -> Speaker:  # noqa: ARG001 - it has written the roster
    """A speaker in the household of the roster, whose owner allowed the assist of this home."""
    ada = Home(home).roster().known_owner("ada")
    speaker = Speaker("kitchen", Home(home).assist_key(), "ada", ada.okey)
    text = keys.device_text(speaker.key.public_key())
    Home(home).change_roster(
        lambda roster: (
            roster.without_device("kitchen", 0)
            if any(device.name == "kitchen" for device in roster.devices)
            else roster
        )
    )
    Home(home).change_roster(lambda roster: roster.with_device("kitchen", text))
    return speaker


@pytest.fixture
def started(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    home_assistant: FakeHomeAssistant,
    wyoming: FakeWyoming,
    tmp_path: Path,
    wait_until: Wait,
) -> Callable[[], None]:
    """Start assist, or start it again, and wait until it is subscribed."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    config = tmp_path / "earmark.toml"
    config.write_text(
        f"{config.read_text('utf-8')}"
        f'[assist]\nurl = "{home_assistant.url}"\ntoken_file = "{token}"\n'
        f'recogniser = "wyoming"\nwyoming_port = {wyoming.port}\n'
        f'voice = "{"home-assistant" if home_assistant.sound else "none"}"\n'
    )
    mosquitto.start()
    starts = 0

    def start() -> None:
        nonlocal starts
        starts += 1
        earmark.start("assist", "--verbose")
        wait_until(lambda: earmark.said("assist").count("connected with") >= starts, "connected")

    return start


@pytest.fixture
def line(kitchen: Speaker, started: Callable[[], None], free_port: int) -> Iterator[Line]:
    started()
    line = Line(kitchen, free_port)
    yield line
    line.close()


def wake(line: Line, wait_until: Wait) -> tuple[str, bytes, str]:
    """Ask until there is a key: the subscription may be on its way, and assist waits at first."""
    asks: dict[str, bytes] = {}

    def is_answered() -> bool:
        nonce, ask = line.speaker.ask()
        asks[nonce] = ask
        line.say("earmark/v1/ask/kitchen", ask)
        end_s = time.monotonic() + 2
        while line.answer(nonce) is None and time.monotonic() < end_s:
            time.sleep(0.02)
        answer = line.answer(nonce)
        return answer is not None and answer.key is not None

    wait_until(is_answered, "a key")
    nonce = list(asks)[-1]
    answer = line.answer(nonce)
    assert answer is not None
    assert answer.key is not None
    return nonce, asks[nonce], answer.key


def look(pid: int) -> MemorySnapshot:
    """Copy the memory of a process and its children."""
    processes = process_tree(pid)
    with freeze(processes):
        return MemorySnapshot(
            [piece for one in processes for piece in snapshot_memory(one.pid).pieces]
        )


def find_secret(snapshot: MemorySnapshot, public: bytes) -> bytes | None:
    """Return the secret key of an X25519 public key, if memory holds it.

    The test does not know the key: it derives the public key of everything that looks random, at
    each address that a multiple of 8 can have.
    """
    for _, data in snapshot.pieces:
        cells = np.frombuffer(data, np.uint8)
        if len(cells) < SECRET_BYTES:
            continue
        rows = np.lib.stride_tricks.sliding_window_view(cells, SECRET_BYTES)[::8]
        for first in range(0, len(rows), 1 << 16):
            some = rows[first : first + (1 << 16)]
            is_random = ((some == 0).sum(1) <= 2) & (np.abs((some > 127).sum(1) - 16.0) <= 11)
            rows_found: set[bytes] = {one.tobytes() for one in some[is_random]}
            for row in rows_found:
                if len(set(row)) >= 24:
                    secret = X25519PrivateKey.from_private_bytes(row)
                    if secret.public_key().public_bytes_raw() == public:
                        return row
    return None


def derive_keys(secret: bytes, ciphertext: bytes) -> dict[str, bytes]:
    """Return every key that opens a file of age, by name (https://age-encryption.org/v1)."""
    head, _, rest = ciphertext.partition(b"\n--- ")
    _, stanza, body, *_ = head.split(b"\n")  # others have random names and mean nothing
    share = base64.b64decode(stanza.removeprefix(b"-> X25519 ") + b"=")
    key = X25519PrivateKey.from_private_bytes(secret)
    shared = key.exchange(X25519PublicKey.from_public_bytes(share))
    salt = share + key.public_key().public_bytes_raw()
    wrap = HKDF(SHA256(), SECRET_BYTES, salt, b"age-encryption.org/v1/X25519").derive(shared)
    file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), base64.b64decode(body + b"=="), None)
    _, _, payload = rest.partition(b"\n")
    return {
        "command": secret,
        "shared": shared,
        "wrap": wrap,
        "file": file_key,
        "header": HKDF(SHA256(), SECRET_BYTES, b"", b"header").derive(file_key),
        "payload": HKDF(SHA256(), SECRET_BYTES, payload[:16], b"payload").derive(file_key),
    }


def find_words(data: bytes) -> set[str]:
    """Return the words of the command and of its reply that are in ``data``, in any spelling."""
    small = data.lower()
    forms = ("utf-8", "utf-16-le", "utf-32-le")
    return {word for word in WORDS for form in forms if word.encode(form) in small}


def watermarked(mark: Watermark) -> Samples:
    """2 s of a signal that can be found in memory, below blocks of the test itself."""
    return mark.signal(0, BLOCKS)[: BLOCKS * BLOCK_SAMPLES]


def wav_file(samples: Samples) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@dataclass
class Secrets:
    """Everything of one command that may not stay."""

    said: Watermark
    replied: Watermark
    keys: dict[str, bytes] = field(default_factory=dict)

    def find(self, data: bytes) -> set[str]:
        """Return the names of what is in ``data``."""
        found = {f"the {name} key" for name, key in self.keys.items() if key in data}
        found |= find_words(data)
        found |= {"sound" for _ in [0] if self.said.find(data)}
        return found | {"sound of the reply" for _ in [0] if self.replied.find(data)}

    def find_in(self, snapshot: MemorySnapshot) -> set[tuple[str, str]]:
        """Return what is in memory, with the names of the mappings."""
        return {(place, name) for place, data in snapshot.pieces for name in self.find(data)}


@pytest.fixture
def watched(
    home_assistant: FakeHomeAssistant,
    wyoming: FakeWyoming,
    earmark: "Earmark",
    mosquitto: "Mosquitto",
    tmp_path: Path,
) -> Secrets:
    """Words and sounds that can be found, a spoken reply, and every place on a disk."""
    secrets = Secrets(Watermark(7), Watermark(8))
    home_assistant.sentence = "turn on the zyxomma quillwort"
    home_assistant.speech = "Lit the glimmerwick"
    home_assistant.sound = wav_file(secrets.replied.signal(0, BLOCKS))
    text = "Alexa, turn on the Zyxomma quillwort."
    wyoming.answer = [{"type": "transcript", "data": {"text": text}}]
    (tmp_path / "temporary").mkdir()
    earmark.environment["TMPDIR"] = str(tmp_path / "temporary")
    mosquitto.database = tmp_path
    return secrets


@dataclass(frozen=True)
class AskEnd:
    """How an ask ends."""

    outcome: str
    """What the speaker is told; empty for nothing."""
    cause: Callable[[FakeHomeAssistant, FakeWyoming], None]


ASK_ENDS = {
    "done": AskEnd("done", lambda _assistant, _wyoming: None),
    "connection lost": AskEnd("", lambda assistant, _: setattr(assistant, "breaks", "intent")),
    "invalid transcript": AskEnd(
        "failed",
        lambda _, wyoming: setattr(wyoming, "raw", b'{"type":"transcript","data":{"text":"Zyxomma'),
    ),
    "not understood": AskEnd(
        "not-understood", lambda assistant, _: setattr(assistant, "sentence", "something else")
    ),
}


@dataclass
class CommandRun:
    """One command, and the memory of assist before it was sent and while it was recognised."""

    key: str
    copy: bytes
    before: MemorySnapshot
    during: MemorySnapshot


def run_command(
    line: Line, earmark: "Earmark", wyoming: FakeWyoming, sound: Samples, wait_until: Wait
) -> CommandRun:
    """Say a command, again where this machine was too slow for the first one."""
    pid = earmark.pid("assist")
    for _ in range(ATTEMPTS):
        wyoming.is_heard.clear()
        wyoming.may_answer.clear()
        nonce, _, key = wake(line, wait_until)
        before = look(pid)
        copy = line.speaker.copy(nonce, key, sound=sound)
        line.say(f"earmark/v1/spoken/kitchen/{nonce}", copy)
        if wyoming.is_heard.wait(timing.ACT_S + 1):
            during = look(pid)
            told = len(line.heard)
            wyoming.may_answer.set()
            wait_until(
                lambda told=told: (
                    len(line.heard) > told  # type: ignore[misc] # a default
                    or "the outcome of a command is not known" in earmark.said("assist")
                ),
                "the end of the ask",
            )
            if line.outcomes()[-1:] != ["late"]:
                return CommandRun(key, copy, before, during)
    raise AssertionError("each command was late")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of such a process")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("end", ASK_ENDS)
def test_no_key_text_or_sound_of_an_ended_ask_is_left(
    watched: Secrets,
    line: Line,
    earmark: "Earmark",
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    mosquitto: "Mosquitto",
    tmp_path: Path,
    wait_until: Wait,
    end: str,
) -> None:
    """A core of assist, its files and the broker's database hold nothing of it.

    Each page of the process is searched, which is more than a core dump has.
    """
    expected = ASK_ENDS[end]
    expected.cause(home_assistant, wyoming)

    run = run_command(line, earmark, wyoming, watermarked(watched.said), wait_until)

    told = [one for one in line.outcomes() if one != "late"]
    assert told == ([expected.outcome] if expected.outcome else [])
    wait_until(lambda: end != "done" or line.replies, "the reply")
    # Searched now: the speaker's command would have been late.
    secret = find_secret(run.before, keys.age_bytes(run.key))
    assert secret is not None, "the search finds the key of an open ask"
    watched.keys = derive_keys(secret, parse_copy(run.copy).lines.ciphertext)
    names = {name for _, name in watched.find_in(run.during)}
    assert names == {"sound"}, "the search finds the sound; the last part has taken the keys"
    wait_until(lambda: not watched.find_in(look(earmark.pid("assist"))), "nothing is left")
    mosquitto.save()
    copy = run.copy
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"mosquitto.db", "assist.key", "assist.log"} <= {file.name for file in files}
    pieces = {copy[at : at + PIECE_BYTES] for at in range(1024, len(copy) - PIECE_BYTES, 16 << 10)}
    for file in files:
        data = file.read_bytes()
        assert not watched.find(data), file
        assert not [one for one in pieces if one in data], file


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of such a process")
@pytest.mark.timeout(180)
def test_no_core_dump_is_written_even_where_the_limit_allows_it(
    started: Callable[[], None], earmark: "Earmark", tmp_path: Path
) -> None:
    started()
    pid = earmark.pid("assist")
    dumps = []
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as plain:
        for one in (pid, plain.pid):
            # Refused where root may not raise limits; assist has lowered its own for good then.
            _, most = resource.prlimit(one, resource.RLIMIT_CORE)
            resource.prlimit(one, resource.RLIMIT_CORE, (most, most))
            with contextlib.suppress(PermissionError):
                resource.prlimit(one, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
            os.kill(one, signal.SIGQUIT)
            # WNOWAIT: the other waits by itself later.
            status = os.waitid(os.P_PID, one, os.WEXITED | os.WNOWAIT)
            assert status is not None
            dumps.append(status.si_code == os.CLD_DUMPED)

    assert dumps == [False, True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root turns swap on")
@pytest.mark.timeout(180)
def test_swap_holds_no_sound_while_it_is_recognised(
    watched: Secrets,
    line: Line,
    earmark: "Earmark",
    wyoming: FakeWyoming,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    control = Watermark(9)
    held = tmp_path / "held"
    held.write_bytes(control.signal(0, BLOCKS).tobytes())
    program = f"data = open({str(held)!r}, 'rb').read(); print(flush=True); input()"
    with (
        swap_file(tmp_path / "swap") as swap,
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as plain,
    ):
        assert plain.stdout is not None
        plain.stdout.readline()
        wyoming.meanwhile = lambda: page_out(earmark.pid("assist"))
        run = run_command(line, earmark, wyoming, watermarked(watched.said), wait_until)
        page_out(plain.pid)

        assert swapped_kib(earmark.pid("assist")) == 0
        assert run.during.scan(watched.said).found
        wait_until(lambda: control.find(swap()), "the kernel swaps what is not locked")
        assert swapped_kib(plain.pid) > 0
        assert not watched.find(swap())
        plain.communicate(b"\n")


@contextlib.contextmanager
def swap_file(path: Path) -> Iterator[Callable[[], bytes]]:
    """Turn swap on in a file; yield a function that returns what is in it."""
    path.touch(0o600)
    path.write_bytes(bytes(SWAP_BYTES))
    subprocess.run(["mkswap", path], check=True, capture_output=True)
    if subprocess.run(["swapon", path], check=False, capture_output=True).returncode:
        pytest.skip("this file system or kernel has no swap files")

    def read() -> bytes:
        # Not by the page cache, past which the kernel writes.
        words = ["dd", f"if={path}", "iflag=direct", "bs=1M", "status=none"]
        return subprocess.run(words, check=True, capture_output=True).stdout

    try:
        yield read
    finally:
        subprocess.run(["swapoff", path], check=True)


def page_out(pid: int) -> None:
    """Have the kernel take every page of a process that it may (process_madvise(2))."""
    regions = parse_maps(Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape"))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.pidfd_open(pid)
    try:
        for region in regions:
            span = (ctypes.c_void_p * 2)(region.first, region.end - region.first)
            libc.syscall(PROCESS_MADVISE, descriptor, span, ctypes.c_long(1), MADV_PAGEOUT, 0)
    finally:
        os.close(descriptor)


def swapped_kib(pid: int) -> int:
    """Return the swapped memory of a process."""
    [line] = [
        text
        for text in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        if text.startswith("VmSwap:")
    ]
    return int(line.split()[1])


@pytest.mark.timeout(180)
def test_spoken_command_switches_the_light_in_its_room(
    started: Callable[[], None],
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    """Real hear, send and assist; recognised text and Home Assistant are fakes."""
    names = ["quiet", "alexa_command", "talk", *["quiet"] * 60]
    files = [str(FIXTURES / f"{name}.flac") for name in names]
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8")
    client = paho.Client(CallbackAPIVersion.VERSION2)
    events: list[dict[str, object]] = []
    client.on_message = lambda _client, _data, message: events.append(json.loads(message.payload))
    started()
    # Keys of a table before it: dotted ones go to the beginning.
    config.write_text(
        f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n{text}', "utf-8"
    )
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("earmark/v1/event/hall")
    client.loop_start()
    client.publish("earmark/v1/consents/hall", consent_of(household), 1, retain=True)
    earmark.start("send")
    wait_until((household.home.path / "spool" / "consents.json").exists, "the consent is stored")
    time.sleep(timing.GROUP_S)  # assist answers nothing before

    earmark.start("hear", "--json")
    wait_until(lambda: home_assistant.lights, "the light")
    wait_until(lambda: [one for one in events if one["event_type"] == "command"], "an outcome")
    client.disconnect()
    stop_network_thread(client)

    assert home_assistant.lights == ["hall"]
    (outcome,) = [one for one in events if one["event_type"] == "command"]
    assert outcome["outcome"] == "done"
    assert len(wyoming.sound) > 2 * 16_000, "more than a second"
    assert "turn on" not in earmark.said("assist") + earmark.said("hear") + earmark.said("send")


def write_voice(folder: Path) -> Path:
    """Write a program named espeak-ng that knows two texts; return its folder."""
    lines = ["#!/bin/sh", "read -r text", 'case "$text" in']
    for number, (text, sound) in enumerate(SPEECH.items()):
        soundfile.write(folder / f"{number}.wav", sound, 16_000, subtype="PCM_16")
        lines.append(f'"{text}") exec cat "{folder}/{number}.wav" ;;')
    program = folder / "voice" / "espeak-ng"
    program.parent.mkdir()
    program.write_text("\n".join([*lines, "esac", "exit 1", ""]))
    program.chmod(0o755)
    return program.parent


@pytest.mark.timeout(600)
def test_announcement_sounds_once_and_not_while_muted(
    started: Callable[[], None],
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    """Real assist, send, hear and player; espeak-ng is a stand-in."""
    voice = household.home.path / HOME_FOLDER
    loudspeaker = voice / "loudspeaker.raw"
    card = f'type file; slave.pcm "null"; file "|cat >> {loudspeaker}"; format raw'
    earmark.environment[cards.VARIABLE] = cards.write_settings(tmp_path, loud=card)
    files = [str(FIXTURES / "quiet.flac")] * 60
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8").replace('voice = "none"', 'voice = "program"')
    config.write_text(
        f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n'
        f'player.device = "loud"\nplayer.volume = 1.0\n{text}',
        "utf-8",
    )

    earmark.environment["PATH"] = f"{write_voice(tmp_path)}:{os.environ['PATH']}"

    def sounded(words: str) -> int:
        wanted = SPEECH[words].tobytes()
        return loudspeaker.read_bytes().count(wanted) if loudspeaker.exists() else 0

    def announce(words: str) -> None:
        """Announce a text until it sounds: on a slow machine one may wait for longer than 30 s."""
        for _ in range(ATTEMPTS):
            client.publish("earmark/v1/announce/hall", words)
            until_s = time.monotonic() + ANNOUNCE_S + timing.REPLY_S
            while not (found := sounded(words)) and time.monotonic() < until_s:
                time.sleep(0.05)
            if found:
                return
        pytest.fail(f"{words} never sounds: {earmark.said('assist')} {earmark.said('play')}")

    started()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    client.publish("earmark/v1/consents/hall", consent_of(household), 1, retain=True)
    earmark.start("send")
    wait_until((household.home.path / "spool" / "consents.json").exists, "the consent is stored")
    earmark.start("play", "--verbose")
    wait_until((voice / REPLY_KEY).exists, "a reply key lies ready")
    earmark.start("hear", "--json")
    wait_until(lambda: '"started"' in earmark.said("hear"), "hear listens")

    announce("Dinner is ready")
    assert earmark.run("mute", "on").returncode == 0
    client.publish("earmark/v1/announce/hall", "Good night")
    time.sleep(ANNOUNCE_S + 1)
    assert sounded("Good night") == 0, "it is muted"
    assert earmark.run("mute", "off").returncode == 0
    announce("Good night")
    client.disconnect()
    stop_network_thread(client)

    assert sounded("Dinner is ready") == sounded("Good night") == 1
    said = "".join(earmark.said(verb) for verb in ("assist", "send", "hear", "play"))
    assert "inner" not in said
    assert "ood night" not in said


def consent_of(household: "Household") -> bytes:
    """Return ada's consent for the speaker hall and the assist of this home."""
    (identity,) = parse_identities(household.identities["ada"].encode(), "ada's")
    consent = Consent(
        assist=keys.device_text(household.home.assist_key().public_key()),
        device="hall",
        n=7,
        okey=identity.okey,
        on=1,
        owner="ada",
    )
    speaker = household.device_key.public_key()
    return encode_consents([make_consent(consent, identity.agreement(), speaker)])


@pytest.mark.timeout(180)
def test_recorded_messages_do_nothing_after_the_act_and_after_a_restart(
    line: Line,
    earmark: "Earmark",
    started: Callable[[], None],
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    wait_until: Wait,
) -> None:
    nonce, ask, key = wake(line, wait_until)
    topic = f"earmark/v1/spoken/kitchen/{nonce}"
    copy = line.speaker.copy(nonce, key)
    line.say(topic, copy)
    wait_until(line.outcomes, "an outcome")

    def replay(kind: str) -> None:
        before = len(line.outcomes())
        line.say("earmark/v1/ask/kitchen", ask)
        line.say(topic, copy)
        wait_until(lambda: len(line.outcomes()) > before, "an outcome of the replay")
        assert line.outcomes()[-1] == kind

    # The outcome of an ask is the last word on it: a copy that comes again has none.
    before = line.outcomes()
    line.say("earmark/v1/ask/kitchen", ask)
    line.say(topic, copy)
    wake(line, wait_until)
    assert line.outcomes() == before
    assert earmark.kill("assist", signal.SIGKILL) == -signal.SIGKILL
    started()
    wake(line, wait_until)
    replay("late")
    assert earmark.kill("assist", signal.SIGTERM) == 0
    started()
    wake(line, wait_until)
    replay("late")

    assert home_assistant.lights == ["kitchen"]
    assert len([one for one in wyoming.events if one["type"] == "audio-stop"]) == 1
