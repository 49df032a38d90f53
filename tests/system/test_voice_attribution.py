"""``earmark hear`` with attribution by voice: real processes, three voices, two owners, a guest."""

import contextlib
import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyrage
import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.envelope import keys
from listener.ipc.notice_socket import SOCKET, NoticeSocket
from listener.ipc.notices import AttributionNotice, Notice
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.scoring import Embedding
from tests.system.conftest import wait_until
from tests.system.voice_speaker import (
    CHILD,
    FIXTURES,
    LIMIT_S,
    NAME,
    Recorded,
    VoiceSpeaker,
    enrol,
    read_recorded,
)

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return read_recorded()


@pytest.fixture(scope="module")
def embeddings(recorded: Recorded) -> dict[str, Embedding]:
    """The embedding of each owner's first sentence."""
    return {name: enrol(recorded.sentence(name, 0)) for name in ("ada", "bob")}


Make = Callable[..., VoiceSpeaker]


@pytest.fixture
def make(home: Path, embeddings: dict[str, Embedding]) -> Make:
    return lambda **attribution: VoiceSpeaker(home, embeddings, **attribution)


def ends(told: Sequence[dict[str, Any]]) -> list[str]:
    """Return the owner of each clip, or the reason for which it was not kept."""
    return [
        event.get("owner") or event["reason"]
        for event in told
        if event["event"] in {"sealed", "not_kept"}
    ]


def write(path: Path, *parts: Samples) -> Path:
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16)


@contextlib.contextmanager
def reading_notices(speaker: VoiceSpeaker) -> Iterator[list[Notice]]:
    """Collect the notices of hear in a thread: it drops what finds no place."""
    (speaker.path / SOCKET).parent.mkdir()
    inbox = NoticeSocket(speaker.path / SOCKET)
    notices: list[Notice] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.wait(0.005):
            notices.extend(inbox.receive())
        notices.extend(inbox.receive())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield notices
    finally:
        is_over.set()
        reader.join()
        inbox.close()


def test_each_voice_has_its_clips_and_nothing_is_kept_of_a_guest(make: Make) -> None:
    speaker = make()
    with reading_notices(speaker) as notices:
        told, said = speaker.hear(FIXTURES / NAME)

    assert ends(told) == ["ada", "bob", "unattributed"]
    clips = speaker.clips()
    assert [clip.header.owner for clip in clips] == ["ada", "bob"]
    total = told[-1]
    assert (total["unattributed"], total["guests"]) == (1, 1)
    assert (total["unsure"], total["bystanders"]) == (0, 0)
    assert AttributionNotice(guests=1) in notices
    # The canary: a similarity is in the sealed envelope, and nowhere else.
    similarities = [clip.private.spk for clip in clips]
    assert all(one is not None and one > 0.5 for one in similarities)
    digits = [f"{one:.4f}"[1:].rstrip("0") for one in similarities if one is not None]
    heard = [json.dumps(told), said, repr(notices)]
    files = [path.read_bytes() for path in speaker.path.rglob("*") if path.is_file()]
    for digit in digits:
        assert len(digit) >= 3, "a number that is found by chance shows nothing"
        assert not any(digit in text for text in heard)
        assert not any(digit.encode() in data for data in files)
    assert not any(name in "".join(heard) for name in ('"spk"', "spk=", "similarity"))


@pytest.mark.parametrize(
    ("mode", "owners"),
    [
        ("keeper", ["ada", "ada", "ada"]),
        ("keeper-voice", ["ada", "unattributed", "unattributed"]),
    ],
)
def test_modes_of_a_keeper(make: Make, mode: str, owners: list[str]) -> None:
    speaker = make(mode=mode)

    told, _ = speaker.hear(FIXTURES / NAME)

    assert ends(told) == owners
    assert {clip.header.owner for clip in speaker.clips()} == {"ada"}
    spoken = [clip.private.spk for clip in speaker.clips()]
    assert [one is None for one in spoken] == [mode == "keeper"] * len(spoken)
    assert ("guests" in told[-1]) == (mode != "keeper")


def swap(speaker: VoiceSpeaker) -> None:
    folder = speaker.path / "voiceprints"
    ada, bob = (folder / f"{name}.json" for name in ("ada", "bob"))
    data = ada.read_bytes()
    ada.write_bytes(bob.read_bytes())
    bob.write_bytes(data)


def cross(speaker: VoiceSpeaker) -> None:
    """Label the voiceprint of bob, with his vector, as ada's: only the device could sign that."""
    path = speaker.path / "voiceprints" / "bob.json"
    path.write_bytes(path.read_bytes().replace(b'"bob"', b'"ada"'))


def damage(speaker: VoiceSpeaker) -> None:
    path = speaker.path / "voiceprints" / "bob.json"
    path.write_bytes(path.read_bytes()[:-100])


def age(speaker: VoiceSpeaker) -> None:
    old = speaker.make("bob", speaker.voiceprints["bob"].embedding, model="00" * 32)
    speaker.store.write(old, speaker.key)


def bring_from_another_speaker(speaker: VoiceSpeaker) -> None:
    other = Home(speaker.path.parent / "other")
    there = speaker.make(
        "bob",
        speaker.voiceprints["bob"].embedding,
        device=keys.device_text(other.device_key().public_key()),
    )
    VoiceprintStore(other.path).write(there, other.device_key())
    data = (other.path / "voiceprints" / "bob.json").read_bytes()
    (speaker.path / "voiceprints" / "bob.json").write_bytes(data)


@pytest.mark.parametrize("change", [swap, cross, damage, age, bring_from_another_speaker])
def test_voiceprint_that_is_refused_is_named_and_no_clip_is_made(
    make: Make, change: Callable[[VoiceSpeaker], None]
) -> None:
    speaker = make()
    change(speaker)

    told, said = speaker.hear(FIXTURES / NAME)

    assert ends(told) == ["unattributed"] * 3
    assert speaker.clips() == []
    assert said.count("the voiceprint of bob is refused") == 1, "once, not with each clip"


def test_owner_whose_key_is_not_confirmed_has_no_clip(make: Make) -> None:
    speaker = make()
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    speaker.home.change_roster(
        lambda roster: roster.without_owner("bob").with_owner("bob", recipient)
    )

    told, said = speaker.hear(FIXTURES / NAME)

    assert ends(told) == ["ada", "unattributed", "unattributed"]
    assert said.count("the voiceprint of bob is refused") == 1


@pytest.mark.parametrize(
    ("bystanders", "end"), [("drop", "unattributed"), ("trim", "ada"), ("keep", "ada")]
)
def test_second_voice_in_a_clip(
    make: Make, recorded: Recorded, tmp_path: Path, bystanders: str, end: str
) -> None:
    speaker = make(bystanders=bystanders)
    talk, _ = soundfile.read(FIXTURES / "talk.flac", dtype="int16")
    guest = talk[2 * SAMPLE_RATE_HZ : 4 * SAMPLE_RATE_HZ]
    command = recorded.sentence("ada", 1)
    scene = write(tmp_path / "two.wav", quiet(2), command, quiet(0.2), guest, quiet(2))

    told, _ = speaker.hear(scene)

    assert ends(told) == [end]
    assert told[-1]["bystanders"] == (bystanders == "drop")
    guest_s = 2 + len(command) / SAMPLE_RATE_HZ + 0.2
    for sealed in (event for event in told if event["event"] == "sealed"):
        left_s = sealed["time_s"] + sealed["length_s"] - guest_s
        assert left_s >= 2 if bystanders == "keep" else -1 <= left_s <= 1
        assert told[-1]["sealed_s"] == sealed["length_s"]


@dataclass
class LiveRun:
    """A run in real time, and its embedding process."""

    process: "subprocess.Popen[str]"

    def child(self) -> psutil.Process | None:
        for one in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if CHILD in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                    return one
            except psutil.NoSuchProcess:
                continue
        return None

    def wait_for_child(self) -> psutil.Process:
        found: list[psutil.Process] = []

        def has_started() -> bool:
            child = self.child()
            found.extend([] if child is None else [child])
            return bool(found)

        wait_until(has_started, "the embedding process", LIMIT_S)
        return found[0]

    def events(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        return map(json.loads, self.process.stdout)


@pytest.fixture
def start() -> Iterator[Callable[..., LiveRun]]:
    runs: list[LiveRun] = []

    def begin(speaker: VoiceSpeaker, *more: str | Path) -> LiveRun:
        process = subprocess.Popen(
            speaker.words(*more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(LiveRun(process))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.communicate()


def test_process_is_confined_starts_at_a_wake_and_ends_at_a_mute(
    make: Make, recorded: Recorded, tmp_path: Path, start: Callable[..., LiveRun]
) -> None:
    speaker = make()
    scene = write(tmp_path / "one.wav", quiet(2), recorded.sentence("ada", 1), quiet(60))
    run = start(speaker, "--microphone", scene, "--mute", "30-62")
    events = run.events()
    assert next(events)["event"] == "started"
    assert run.child() is None, "it runs from a wake on only"

    child = run.wait_for_child()
    status = Path(f"/proc/{child.pid}/status").read_text("ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["Seccomp"].strip(), fields["NoNewPrivs"].strip()) == ("2", "1")
    told = list(itertools.takewhile(lambda event: event["event"] != "muted", events))
    assert len(ends(told)) == 1

    wait_until(lambda: run.child() is None, "mute ended it", LIMIT_S)
    assert run.process.poll() is None, "hear goes on"


def test_process_that_hangs_delays_no_audio_and_makes_no_clip(
    make: Make, recorded: Recorded, tmp_path: Path, start: Callable[..., LiveRun]
) -> None:
    speaker = make()
    scene = write(tmp_path / "one.wav", quiet(2), recorded.sentence("ada", 1), quiet(10))
    run = start(speaker, "--microphone", scene)
    child = run.wait_for_child()
    child.send_signal(signal.SIGSTOP)

    began_s = time.monotonic()
    told = list(run.events())
    process_said = run.process.stderr.read() if run.process.stderr is not None else ""

    assert time.monotonic() - began_s < LIMIT_S
    assert ends(told) == ["unattributed"]
    assert (told[-1]["unsure"], told[-1]["overruns"]) == (1, 0)
    assert "it took too long" in process_said
    assert speaker.clips() == []
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.recordings
def test_people_have_their_own_clips_and_a_guest_has_none(
    home: Path, recordings: Path, tmp_path: Path
) -> None:
    """Two readers of LibriSpeech as owners, a third as guest: a command of each."""
    folder = recordings / "speakers" / "librispeech"
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.flac")):
        files.setdefault(path.name.split("-")[0], []).append(path)
    people = sorted(files)[:3]
    sound = {
        person: [
            soundfile.read(path, dtype="int16")[0]
            for path in files[person]
            if soundfile.info(path).duration >= 4
        ]
        for person in people
    }
    names = dict(zip(people, ("ada", "bob", "unattributed"), strict=True))
    speaker = VoiceSpeaker(
        home,
        {names[person]: enrol(*sound[person][:5]) for person in people[:2]},
        bystanders="keep",
    )
    # The clip begins behind the word, which a synthesiser says.
    speaker.config.write_text(speaker.config.read_text("utf-8") + "[clip]\npre_roll_s = 0.0\n")
    word, _ = soundfile.read(FIXTURES / "alexa.flac", dtype="int16", stop=42_903)
    parts = [
        part
        for person in people
        for part in (word, quiet(0.3), sound[person][5][: 3 * SAMPLE_RATE_HZ], quiet(3))
    ]

    told, _ = speaker.hear(write(tmp_path / "people.wav", *parts))

    assert ends(told) == [names[person] for person in people]
    assert told[-1]["guests"] == 1
