"""``earmark hear`` as a process, on spoken fixtures."""

import compileall
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyrage
import pytest
import soundfile

import listener
from listener.envelope.open import OpenedClip, open_envelope, parse_identities
from listener.hear import events as report
from listener.ipc import notices
from listener.ipc.notice_socket import SOCKET, NoticeSocket
from listener.storage.home import Home

pytestmark = pytest.mark.system

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COMMAND = FIXTURES / "alexa_command.flac"
PATIENCE_S = 50.0


class Speaker:
    """A home with an owner, ada, and its ear."""

    def __init__(self, home: Path) -> None:
        self.path = home
        self.home = Home(home)
        self.identity = pyrage.x25519.Identity.generate()
        recipient = str(self.identity.to_public())
        now_s = int(time.time())
        self.home.change_roster(
            lambda roster: (
                roster.with_owner("ada", recipient)
                .with_challenge("ada", "yes", now_s)
                .with_confirmation("ada", "yes", now_s)
            )
        )

    def words(self, *more: str | Path) -> list[str]:
        return [
            *(sys.executable, "-m", "listener", "hear", "--home", str(self.path)),
            *map(str, more),
        ]

    def hear(self, *more: str | Path) -> "subprocess.CompletedProcess[str]":
        """Hear to the end, as JSON, for ada."""
        return self.run("--keeper", "ada", "--json", *more)

    def run(self, *more: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(*more), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def envelopes(self) -> list[Path]:
        return sorted((self.path / "spool").glob("*.earmark"))

    def open(self, envelope: Path) -> OpenedClip:
        return open_envelope(
            envelope.read_bytes(),
            parse_identities(str(self.identity).encode(), "ada's"),
            {"speaker": self.home.device_key().public_key()},
            self.home.roster().active_owners(),
        )


@pytest.fixture
def speaker(home: Path) -> Speaker:
    return Speaker(home)


def events(said: str) -> list[report.Event]:
    return [report.from_json(line) for line in said.splitlines()]


def kinds(told: Sequence[report.Event]) -> list[str]:
    return [type(event).__name__ for event in told]


def test_wake_word_and_command_become_one_envelope(speaker: Speaker) -> None:
    ended = speaker.hear("--fast", "--microphone", COMMAND)

    assert (ended.returncode, ended.stderr) == (0, "")
    told = events(ended.stdout)
    assert kinds(told) == ["StartedEvent", "WakeEvent", "SealedEvent", "EndedEvent"]
    (envelope,) = speaker.envelopes()
    opened = speaker.open(envelope)
    sealed, total = told[2], told[3]
    assert isinstance(sealed, report.SealedEvent)
    assert isinstance(total, report.EndedEvent)
    assert sealed.end_reason == opened.private.end_reason == "silence"
    assert sealed.bytes == envelope.stat().st_size
    assert envelope.name == f"{sealed.seq:012d}.ada.{sealed.clip}.earmark"
    # The clip is the recording's own sound, sample for sample.
    flac = envelope.with_name("opened.flac")
    flac.write_bytes(opened.flac)
    sound, _ = soundfile.read(flac, dtype="int16")
    whole, _ = soundfile.read(COMMAND, dtype="int16")
    first = round(sealed.time_s * 16_000)
    assert (sound == whole[first : first + len(sound)]).all()
    # It holds the whole sentence: index.toml has it from 32,000 to 67,219.
    assert first <= 32_000
    assert first + len(sound) >= 67_219
    assert total.sealed_s == len(sound) / 16_000
    assert total.heard_s == total.discarded_s + total.sealed_s == len(whole) / 16_000


@pytest.mark.parametrize(
    ("name", "end_reason"),
    [("alexa", "no-speech"), ("alexa_pause_command", "silence"), ("alexa_command", "silence")],
)
def test_clip_ends_at_the_endpoint(speaker: Speaker, name: str, end_reason: str) -> None:
    ended = speaker.hear("--fast", "--microphone", FIXTURES / f"{name}.flac")

    sealed = [event for event in events(ended.stdout) if isinstance(event, report.SealedEvent)]
    assert [event.end_reason for event in sealed] == [end_reason]


def test_talk_quiet_and_near_misses_leave_no_clip(speaker: Speaker) -> None:
    files = ",".join(str(FIXTURES / f"{name}.flac") for name in ("talk", "quiet", "near"))

    ended = speaker.hear("--fast", "--microphone", files)

    told = events(ended.stdout)
    assert kinds(told) == [
        "StartedEvent",
        "InterruptedEvent",
        "InterruptedEvent",
        "NearMissEvent",
        "EndedEvent",
    ]
    total = told[-1]
    assert isinstance(total, report.EndedEvent)
    assert total.heard_s == total.discarded_s > 0
    assert speaker.envelopes() == []


def test_wake_word_while_muted_is_not_detected(speaker: Speaker) -> None:
    ended = speaker.hear("--fast", "--mute", "1.9-4.5", "--microphone", COMMAND)

    told = events(ended.stdout)
    assert kinds(told) == ["StartedEvent", "MutedEvent", "UnmutedEvent", "EndedEvent"]
    total = told[-1]
    assert isinstance(total, report.EndedEvent)
    assert total.muted_s == pytest.approx(2.6, abs=0.161)
    assert speaker.envelopes() == []


def test_mute_during_the_command_discards_the_clip(speaker: Speaker) -> None:
    ended = speaker.hear("--fast", "--mute", "3.5-4", "--microphone", COMMAND)

    told = events(ended.stdout)
    assert kinds(told) == [
        "StartedEvent",
        "WakeEvent",
        "NotKeptEvent",
        "MutedEvent",
        "UnmutedEvent",
        "EndedEvent",
    ]
    assert speaker.envelopes() == []


def test_two_wake_words_run_at_once_with_text_output(speaker: Speaker) -> None:
    files = f"{COMMAND},{FIXTURES / 'hey_jarvis_command.flac'}"

    ended = speaker.run(
        *("--keeper", "ada", "--fast", "--word", "alexa", "--word", "hey-jarvis"),
        *("--microphone", files),
    )

    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    # Sealing happens beside hearing: its lines come when they come.
    heard = [line for line in lines if not line.startswith("sealed")]
    assert [line.split()[0] for line in heard] == ["hear", "wake", "gap", "wake", "total"]
    assert len(lines) - len(heard) == 2
    assert "no mute switch" in heard[0]
    assert "hey-jarvis" in heard[3]


def test_other_channel_and_sample_rate_are_detected(speaker: Speaker) -> None:
    stereo = FIXTURES / "stereo_48khz.flac"

    left = speaker.hear("--fast", "--microphone", stereo)
    right = speaker.hear("--fast", "--channel", "1", "--microphone", stereo)

    assert kinds(events(left.stdout)) == ["StartedEvent", "EndedEvent"]
    assert kinds(events(right.stdout)) == ["StartedEvent", "WakeEvent", "SealedEvent", "EndedEvent"]


@pytest.mark.parametrize("suffix", ["flac", "wav", "ogg", "mp3"])
def test_truncated_recording_is_a_gap_and_exits_1(
    speaker: Speaker, tmp_path: Path, suffix: str
) -> None:
    broken = tmp_path / f"broken.{suffix}"
    soundfile.write(broken, *soundfile.read(FIXTURES / "talk.flac"))
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])

    ended = speaker.hear("--fast", "--microphone", f"{broken},{COMMAND}")

    assert ended.returncode == 1
    assert "earmark: error: 1 of 2 recordings are damaged" in ended.stderr
    told = events(ended.stdout)
    assert kinds(told) == [
        "StartedEvent",
        "InterruptedEvent",
        "InterruptedEvent",
        "WakeEvent",
        "SealedEvent",
        "EndedEvent",
    ]


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        ([], 78, "mute.switch is not set", '"none" for a device without a switch'),
        (["--fast"], 2, "--fast needs recordings", "--microphone FILE"),
        (["--device", "usb", "--mute", "5-6"], 2, "--mute needs recordings", "--microphone FILE"),
        (["--device", "usb", "--microphone", COMMAND], 2, "exclude each other", "one of them"),
        (["--microphone", "gone.wav"], 69, "there is no file gone.wav", ""),
        (["--microphone", f"{COMMAND},"], 2, "a recording has an empty name", "commas"),
        (["--microphone", COMMAND, "--mute", "5"], 2, "not a list of mute intervals", "40-50"),
        (["--microphone", COMMAND, "--channel", "1"], 2, "and not channel 1", "from 0"),
        (["--microphone", COMMAND, "--channel", "-1"], 2, "channels start at 0", ""),
        (["--microphone", COMMAND, "--word", "nobody"], 78, "nobody", ""),
        (["--microphone", COMMAND, "--keeper", "bo"], 78, "'bo' is not in the roster", "owner add"),
        (["--microphone", COMMAND, "--keeper", "cleo"], 78, "has not confirmed", "challenge cleo"),
    ],
)
def test_invalid_input_is_one_error_with_a_hint(
    speaker: Speaker, words: list[str | Path], code: int, error: str, hint: str
) -> None:
    other = str(pyrage.x25519.Identity.generate().to_public())
    speaker.home.change_roster(lambda roster: roster.with_owner("cleo", other))

    ended = speaker.run("--keeper", "ada", *words)

    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("earmark: error: ")
    assert error in lines[0]
    assert hint in "".join(lines[1:])


def test_device_without_a_keeper_has_a_hint(speaker: Speaker) -> None:
    ended = speaker.run("--microphone", COMMAND)

    assert ended.returncode == 78
    assert "no keeper is configured" in ended.stderr
    assert "earmark owner add" in ended.stderr


def test_unwritable_spool_is_counted_and_hear_continues(speaker: Speaker) -> None:
    (speaker.path / "spool").write_text("in the way")

    ended = speaker.hear("--fast", "--microphone", f"{COMMAND},{COMMAND}")

    assert ended.returncode == 0
    told = events(ended.stdout)
    total = told[-1]
    assert isinstance(total, report.EndedEvent)
    assert (total.wakes, total.lost, total.sealed_s) == (2, 2, 0)
    assert ended.stderr.count("a clip is lost") == 2
    assert "Traceback" not in ended.stderr


def start(speaker: Speaker, *more: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        speaker.words("--keeper", "ada", "--json", *more), stdout=subprocess.PIPE, text=True
    )


def test_hear_runs_in_real_time_until_sigterm(speaker: Speaker) -> None:
    with start(speaker, "--microphone", FIXTURES / "alexa_twice.flac") as ear:
        assert ear.stdout is not None
        first = report.from_json(ear.stdout.readline())
        wake = report.from_json(ear.stdout.readline())

        ear.send_signal(signal.SIGTERM)
        rest = events(ear.stdout.read())

    assert ear.returncode == 0
    assert isinstance(first, report.StartedEvent)
    assert isinstance(wake, report.WakeEvent)
    # The clip was being made: it is dropped, and the sums hold.
    assert kinds(rest) == ["NotKeptEvent", "EndedEvent"]
    total = rest[-1]
    assert isinstance(total, report.EndedEvent)
    assert total.heard_s == total.discarded_s


def test_closed_stdout_ends_hear_quietly(speaker: Speaker) -> None:
    with start(speaker, "--microphone", FIXTURES / "alexa_twice.flac") as ear:
        assert ear.stdout is not None
        ear.stdout.readline()
        ear.stdout.close()

    assert ear.returncode == 141, "the exit code of a program killed by SIGPIPE"


def test_notices_reach_send_and_counters_are_signed(speaker: Speaker) -> None:
    (speaker.path / SOCKET).parent.mkdir()
    listening = NoticeSocket(speaker.path / SOCKET)

    ended = speaker.hear("--fast", "--microphone", COMMAND)
    got = list(listening.receive())
    listening.close()

    assert ended.returncode == 0
    repeated = [notice for notice in got if isinstance(notice, notices.StateNotice)]
    assert repeated
    assert (repeated[0].mute, repeated[0].microphone) == ("open", "open")
    repeating = (notices.StateNotice, notices.DetectorNotice)
    assert sum(isinstance(notice, notices.DetectorNotice) for notice in got) >= 1
    got = [notice for notice in got if not isinstance(notice, repeating)]
    assert [type(notice) for notice in got] == [
        *(
            notices.StartedNotice,
            notices.WakeNotice,
            notices.SpooledNotice,
            notices.CountersNotice,
            notices.StoppedNotice,
        )
    ]
    counted = got[3]
    assert isinstance(counted, notices.CountersNotice)
    assert counted.tally.sealed == 1
    assert counted.tally.heard_samples == (
        counted.tally.discarded_samples + counted.tally.sealed_samples
    )


def test_systemd_is_notified(speaker: Speaker, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(0)
        subprocess.run(
            speaker.words("--keeper", "ada", "--fast", "--microphone", COMMAND),
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "20000000",
            },
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        told = [supervisor.recv(999).decode() for _ in range(3)]

    assert told == ["READY=1\nSTATUS=listening", "WATCHDOG=1", "STOPPING=1"]


def test_hear_stays_within_its_memory_budget(speaker: Speaker) -> None:
    # As installed: pip compiles what it installs, and compiling takes memory, too.
    compileall.compile_dir(Path(listener.__file__).parent, quiet=1)
    # Asked of the process itself: ru_maxrss also counts the parent that it was forked from.
    program = (
        "import sys; from listener.cli.main import main; code = main(sys.argv[1:]);"
        "sys.stderr.write(open('/proc/self/status').read()); sys.exit(code)"
    )
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}

    ended = subprocess.run(
        [
            *(sys.executable, "-c", program, "hear", "--home", str(speaker.path), "--fast"),
            *("--keeper", "ada", "--microphone", str(FIXTURES / "alexa_twice.flac")),
        ],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )

    (peak,) = [line for line in ended.stderr.splitlines() if line.startswith("VmHWM:")]
    assert int(peak.split()[1]) <= 96 * 1_024


LOOKS_AT_FREED_MEMORY = """
import ctypes, sys
from listener.hear.microphone import file
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
opened = file.open_recording

def look(*arguments):
    piece = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(8_192)))
    ctypes.memset(piece, 0x11, 8_192)
    libc.free(piece)
    left = ctypes.string_at(piece, 8_192).count(bytes([0x11]) * 16)
    print(f"left: {left}", file=sys.stderr)
    return opened(*arguments)

file.open_recording = look
from listener.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command",
    [["hear", "--keeper=ada"], ["survey", "--trace", "trace"], ["monitor", "--listen"]],
    ids=lambda command: command[0],
)
def test_freed_memory_is_overwritten_before_a_recording_is_opened(
    speaker: Speaker, tmp_path: Path, command: list[str]
) -> None:
    """Opening a recording reads its first 4 KiB, of which a part stayed in hear's heap."""
    words = [*command, "--fast", "--home", str(speaker.path)]

    ended = subprocess.run(
        [sys.executable, "-c", LOOKS_AT_FREED_MEMORY, *words, f"--microphone={COMMAND}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert ended.returncode == 0, ended.stderr
    looks = [line for line in ended.stderr.splitlines() if line.startswith("left: ")]
    assert looks
    assert set(looks) == {"left: 0"}
