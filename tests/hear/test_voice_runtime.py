"""Voice control with its real files and sockets: what send and the player find there."""

import stat
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip, EndReason
from listener.envelope import keys
from listener.hear.publisher import EventPublisher
from listener.hear.voice_control import MOST_AT_ONCE, VoiceControl
from listener.hear.voice_runtime import (
    ReplyKeyFile,
    VoiceRuntime,
    boottime_s,
    open_voice_runtime,
)
from listener.ipc.datagrams import Outbox
from listener.ipc.notices import AskNotice
from listener.ipc.player_state import read_player_state
from listener.ipc.voice_folder import SERVICE_HOME, locate_voice_folder
from listener.ipc.voice_paths import ANOTHER_ASSIST, COPIES, NO_ANSWER, REPLY_KEY, VOICE_SOCKET
from listener.voice import messages
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.limits import LONGEST_MESSAGE_BYTES, MOST_WRONG_SIGNATURES
from listener.voice.messages import Answer, Outcome
from listener.voice.timing import POKE_INTERVAL_S
from tests.fakes import FakePost

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Household

FRAME_S = 0.08
FLOODED_FRAMES = 50
MOST_FILLED = 1_000
"""Datagrams with which a test fills the socket, where the kernel has no lower limit."""
KEY = str(pyrage.x25519.Identity.generate().to_public())


class Running:
    """Voice control of a speaker named "hall", whose owner Ada allowed an assist."""

    def __init__(self, household: "Household") -> None:
        self.household = household
        self.folder = household.home.path / "run" / "voice"
        self.assist = Ed25519PrivateKey.generate()
        okey = household.home.roster().known_owner("ada").okey
        assist = keys.device_text(self.assist.public_key())
        kept = KeptConsent(assist=assist, n=1, okey=okey, on=1, owner="ada")
        household.home.change_consents(lambda _table: ConsentTable((kept,)))
        self.post = FakePost()
        self.publisher = EventPublisher(
            lambda _event: None, self.post, household.device_key.sign, bool
        )
        self.chores: list[Callable[[], object]] = []
        self.runtime = VoiceRuntime(household.home, self.publisher)
        self.voice = self.control()
        self.outbox = Outbox(self.folder / VOICE_SOCKET)

    def control(self) -> VoiceControl:
        voice = self.runtime.control(
            device="hall",
            key=self.household.device_key,
            boot="0" * 16,
            keeper="ada",
            run_soon=self.chores.append,
            reserve_seq=bool,
        )
        voice.set_muted(is_muted=False)
        voice.turn(0.0)
        return voice

    def ask(self) -> str:
        self.voice.ask(-30.0, 0.0)
        asks = [one for one in self.post.notices if isinstance(one, AskNotice)]
        return messages.parse_ask(bytes(asks[-1].message)).statement.ask

    def answer(self, ask: str, key: Ed25519PrivateKey | None = None) -> None:
        answer = Answer(ask=ask, device="hall", key=KEY, verdict="speak")
        assert self.outbox.send(messages.sign_message(answer, (key or self.assist).sign))


@pytest.fixture
def running(household: "Household") -> Iterator[Running]:
    made = Running(household)
    yield made
    made.outbox.close()
    made.runtime.close()


def test_folder_of_the_services_is_for_their_home_only(household: "Household") -> None:
    home = household.home.path

    assert locate_voice_folder(home) == home / "run" / "voice"
    assert locate_voice_folder(SERVICE_HOME).is_relative_to("/")


def test_files_are_for_hear_alone_where_the_folder_is_not_shared(running: Running) -> None:
    assert stat.S_IMODE((running.folder / VOICE_SOCKET).stat().st_mode) == 0o600
    assert stat.S_IMODE(running.folder.stat().st_mode) == 0o700
    assert (running.folder / COPIES).is_dir()


def test_answer_on_the_socket_is_used(running: Running) -> None:
    ask = running.ask()
    running.answer(ask)
    running.voice.turn(0.1)

    assert not any(running.voice.rejected.values())
    assert not (running.folder / ANOTHER_ASSIST).exists()
    assert len(running.chores) == 1, "the number of the envelope is reserved"


def test_answer_of_another_assist_is_marked_for_doctor(running: Running) -> None:
    running.answer(running.ask(), Ed25519PrivateKey.generate())
    running.voice.turn(0.1)

    assert (running.folder / ANOTHER_ASSIST).exists()
    running.outbox.close()
    running.runtime.close()
    running.runtime = VoiceRuntime(running.household.home, running.publisher)
    assert not (running.folder / ANOTHER_ASSIST).exists()


def test_flood_is_read_in_portions(running: Running) -> None:
    for _ in range(MOST_AT_ONCE + 1):
        assert running.outbox.send(b"junk")

    running.voice.turn(0.1)
    assert running.voice.malformed == MOST_AT_ONCE
    running.voice.turn(0.2)
    assert running.voice.malformed == MOST_AT_ONCE + 1


def test_ask_without_an_answer_is_marked_for_doctor_until_the_next_answer(
    running: Running,
) -> None:
    mark = running.folder / NO_ANSWER
    running.ask()
    clip = Clip(
        samples=np.zeros(16_000, np.int16),
        first_sample=0,
        wake_sample=8_000,
        end_sample=16_000,
        pre_roll_samples=8_000,
        end_reason=EndReason.SILENCE,
    )
    assert running.voice.order(clip) is None
    assert mark.exists()

    running.answer(running.ask())
    running.voice.turn(0.1)

    assert not mark.exists()


def payload_of(kind: str, ask: str) -> bytes:
    """Return a datagram of a flood; the sender does not have assist's key."""
    if kind == "poke":
        return messages.POKE
    if kind in {"junk", "too long"}:
        return b"{" * (LONGEST_MESSAGE_BYTES if kind == "junk" else 4 * LONGEST_MESSAGE_BYTES)
    nonce = "f" * 32 if kind == "other ask" else ask
    forger = Ed25519PrivateKey.generate()
    if kind == "outcome":
        outcome = Outcome(ask=nonce, device="hall", outcome="done")
        return messages.sign_message(outcome, forger.sign)
    answer = Answer(ask=nonce, device="hall", key=KEY, verdict="speak")
    return messages.sign_message(answer, forger.sign)


@pytest.mark.parametrize("kind", ["junk", "too long", "other ask", "forged", "outcome", "poke"])
def test_flood_takes_a_bounded_part_of_each_frame(
    running: Running, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each frame the socket is filled again, as far as the kernel allows."""
    ask = "" if kind == "poke" else running.ask()
    payload = payload_of(kind, ask)
    taken: list[object] = []
    verified: list[object] = []
    for name, calls in (("_take_message", taken), ("_is_signed", verified)):
        original = getattr(VoiceControl, name)

        def count(*given: Any, calls: list[object] = calls, original: Any = original) -> object:  # noqa: ANN401 - any method
            calls.append(None)
            return original(*given)

        monkeypatch.setattr(VoiceControl, name, count)
    began_s = boottime_s()
    cpu_s, most = [], 0
    for frame in range(FLOODED_FRAMES):
        for _ in range(MOST_FILLED):
            if not running.outbox.send(payload):
                break
        before = len(taken), time.thread_time()
        running.voice.turn(frame * FRAME_S)
        cpu_s.append(time.thread_time() - before[1])
        most = max(most, len(taken) - before[0])

    assert most == MOST_AT_ONCE
    assert len(verified) <= MOST_WRONG_SIGNATURES
    asks = [one for one in running.post.notices if isinstance(one, AskNotice)]
    assert 1 <= len(asks) <= 1 + (boottime_s() - began_s) / POKE_INTERVAL_S
    # Of the processor's time, which other load does not count into.
    assert statistics.median(cpu_s) < FRAME_S / 10
    running.voice.turn(FLOODED_FRAMES * FRAME_S)
    running.voice.turn(FLOODED_FRAMES * FRAME_S)
    if kind in {"junk", "too long", "other ask"}:
        running.answer(ask)
        running.voice.turn(FLOODED_FRAMES * FRAME_S)
        assert len(verified) == 1, "the answer counts behind the flood"


def test_player_learns_the_ask_with_its_reply_key(running: Running) -> None:
    (running.folder / REPLY_KEY).write_text(f"{KEY}\n")

    ask = running.ask()

    state = read_player_state(running.folder)
    assert state is not None
    assert state.latest is not None
    assert (state.latest.ask, state.latest.reply, state.muted) == (ask, KEY, False)
    assert state.latest.assist == keys.device_text(running.assist.public_key())
    running.ask()
    again = read_player_state(running.folder)
    assert again is not None
    assert again.latest is None, "a reply key is used for one ask"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 63, b"age1\n", KEY.encode(), b"x" * 9_000],
    ids=["empty", "not text", "too short", "without an end", "too long"],
)
def test_file_that_is_no_reply_key_is_none(tmp_path: "Path", data: bytes) -> None:
    path = tmp_path / "reply.key"
    path.write_bytes(data)

    assert ReplyKeyFile(path).take() is None


def test_reply_key_is_taken_once(tmp_path: "Path") -> None:
    path = tmp_path / "reply.key"
    other = str(pyrage.x25519.Identity.generate().to_public())
    file = ReplyKeyFile(path)
    assert file.take() is None
    path.write_text(f"{KEY}\n")
    assert [file.take(), file.take()] == [KEY, None]
    path.write_text(f"{other}\n")

    assert file.take() == other


def test_hear_listens_on_without_voice_control(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A second hear finds the socket in use."""
    assert open_voice_runtime(running.household.home, running.publisher) is None

    assert "voice control is off" in caplog.text
    assert running.outbox.send(b"junk"), "the first one keeps its socket"


def test_end_of_hear_leaves_no_copy(running: Running) -> None:
    sealer = running.runtime.command_sealer("hall", running.household.device_key)
    copies = running.folder / COPIES
    (copies / "left").write_bytes(b"not of this run")
    sealer.clear()

    running.outbox.close()
    running.runtime.close()
    running.runtime = VoiceRuntime(running.household.home, running.publisher)

    assert list(copies.iterdir()) == []
