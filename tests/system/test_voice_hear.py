"""``earmark hear`` as a process: from a spoken command to a copy that only assist can open."""

import compileall
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyrage
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import listener
from listener.envelope import keys
from listener.hear import events as report
from listener.ipc import notices
from listener.ipc.datagrams import Outbox
from listener.ipc.notice_socket import SOCKET, NoticeSocket
from listener.storage.home import Home
from listener.voice import messages
from listener.voice.command_copy import parse_copy
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.messages import Answer, Outcome
from listener.voice.open_copy import open_copy

pytestmark = pytest.mark.system

COMMAND = Path(__file__).resolve().parents[1] / "fixtures" / "alexa_command.flac"
PATIENCE_S = 50.0
PAUSE_S = 0.005
AFTER_S = 3
"""Silence after the command, in which it ends and the outcome arrives."""


MOST_MEMORY_KIB = 96 * 1_024


def read_peak_kib(pid: int) -> int:
    """Return the largest resident size of a process so far; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)


class Hub:
    """Send and assist beside a running hear."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.key = Ed25519PrivateKey.generate()
        self.command_key = pyrage.x25519.Identity.generate()
        owner = str(pyrage.x25519.Identity.generate().to_public())
        now_s = int(time.time())
        home.change_roster(
            lambda roster: (
                roster.with_owner("ada", owner)
                .with_challenge("ada", "yes", now_s)
                .with_confirmation("ada", "yes", now_s)
            )
        )
        assist = keys.device_text(self.key.public_key())
        kept = KeptConsent(assist=assist, n=3, okey=keys.owner_id(owner), on=1, owner="ada")
        home.change_consents(lambda _table: ConsentTable((kept,)))
        (home.path / "send").mkdir()
        self.notices = NoticeSocket(home.path / SOCKET)
        self.outbox = Outbox(home.path / "run" / "voice" / "voice.sock")
        self.told: list[notices.Notice] = []
        self.ask = ""
        self.copy = b""

    def work(self) -> None:
        """Answer an ask, take a copy, and state the outcome of it."""
        for notice in self.notices.receive():
            self.told.append(notice)
            if isinstance(notice, notices.AskNotice):
                ask = messages.parse_ask(bytes(notice.message))
                self.ask = ask.verify(self.home.device_key().public_key()).ask
                key = str(self.command_key.to_public())
                answer = Answer(ask=self.ask, device="speaker", key=key, verdict="speak")
                assert self.outbox.send(messages.sign_message(answer, self.key.sign))
            if isinstance(notice, notices.CopyNotice):
                (file,) = (self.home.path / "run" / "voice" / "copies").iterdir()
                self.copy = file.read_bytes()
                file.unlink()
                outcome = Outcome(ask=self.ask, device="speaker", outcome="done")
                assert self.outbox.send(messages.sign_message(outcome, self.key.sign))

    def close(self) -> None:
        self.notices.close()
        self.outbox.close()


def test_command_reaches_assist_beside_its_envelope(home: Path) -> None:
    # As installed: compiling takes memory, too.
    compileall.compile_dir(Path(listener.__file__).parent, quiet=1)
    hub = Hub(Home(home))
    samples, rate_hz = soundfile.read(COMMAND, dtype="int16")
    recording = home / "command.wav"
    soundfile.write(
        recording, np.concatenate([samples, np.zeros(AFTER_S * rate_hz, np.int16)]), rate_hz
    )
    words = ("hear", "--home", home, "--keeper", "ada", "--json", "--microphone", recording)
    # Without what counts coverage: it takes memory, too.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}

    with subprocess.Popen(
        [sys.executable, "-m", "listener", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as hear:
        until_s = time.monotonic() + PATIENCE_S
        peak_kib = 0
        while hear.poll() is None and time.monotonic() < until_s:
            hub.work()
            peak_kib = read_peak_kib(hear.pid) or peak_kib
            time.sleep(PAUSE_S)
        hub.work()
        assert hear.stdout is not None
        told = [report.from_json(line) for line in hear.stdout]
    hub.close()

    (sealed,) = (one for one in told if isinstance(one, report.SealedEvent))
    opened = open_copy(
        parse_copy(hub.copy),
        hub.home.device_key().public_key(),
        hub.command_key,
        keys.device_id(hub.key.public_key()),
    )
    assert (opened.fields.owner, opened.fields.n, opened.header.ask) == ("ada", 3, hub.ask)
    assert opened.fields.pre_ms <= 1_000
    assert opened.fields.ms <= round(sealed.length_s * 1_000)
    assert len(list((home / "spool").glob("*.earmark"))) == 1
    ends = [one.end for one in told if isinstance(one, report.CommandEvent)]
    assert ends == ["done"]
    assert 0 < peak_kib <= MOST_MEMORY_KIB
    statuses = [one for one in hub.told if isinstance(one, notices.VoiceNotice)]
    status = messages.parse_voice_status(bytes(statuses[0].message))
    assert status.verify(hub.home.device_key().public_key()).on == 1
