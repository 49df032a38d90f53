"""One machine for all of these tests, with a household in it, over TLS as at home."""

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
import soundfile

from tests.units import machine as machines
from tests.units import transcript
from tests.units.machine import ROOT, Machine

VERBS = ("hear", "send", "play", "archive", "assist")
"""Commands that are services."""
ASSIST_HOME = "/var/lib/earmark-assist"
ASSIST_TOML = "/etc/earmark/assist.toml"
ARCHIVE = ("--config", "/etc/earmark/archive.toml", "--home", "/var/lib/earmark-archive")
RECORDING = ROOT / "tests" / "fixtures" / "alexa_twice.flac"
SAID = "/usr/share/earmark/said.flac"
SPEAKER = """\
home = "/var/lib/earmark"
[attribution]
keeper = "ada"
[wake]
words = ["alexa"]
"""
LIVE = """
[microphone]
device = "default"
[mute]
switch = "none"
"""
PLAYED = f"""
[microphone]
files = ["{SAID}"]
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--transcript", metavar="FILE", help="write what the units were seen to do")


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Iterator[transcript.Transcript]:
    """What goes into docs/engineering-log/sandbox.md, where that was asked for."""
    kept = transcript.Transcript()
    yield kept
    path = request.config.getoption("--transcript")
    if path and request.session.testsfailed == 0 and kept.probes and kept.scores and kept.flow:
        kept.write(Path(path))


@pytest.fixture(scope="session")
def machine(seen: transcript.Transcript) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.fail("make system-units needs root: it makes namespaces and control groups")
    if shutil.which("mmdebstrap") is None:
        pytest.fail("apt-get install mmdebstrap")
    with machines.installed() as system:
        began_s = time.monotonic()
        with machines.started(system) as found:
            seen.took["boot"] = time.monotonic() - began_s
            seen.system = found.run("systemctl", "--version").splitlines()[0]
            yield found


@dataclass(frozen=True, slots=True)
class House:
    """The machine, with a broker, an archive, and a speaker whose keeper is ada."""

    machine: Machine
    ada: pyrage.x25519.Identity

    def earmark(self, *words: str) -> str:
        """Run a verb as root, as a person does with sudo."""
        return self.machine.run("earmark", *words)

    def hear(self, settings: str) -> None:
        """Give the speaker a microphone."""
        toml = SPEAKER + settings + self.machine.read("/etc/earmark/broker.part")
        self.machine.write("/etc/earmark/earmark.toml", toml)

    def archived(self) -> list[str]:
        """Return the ids of the clips that the archive has."""
        words = ("earmark", "archive", *ARCHIVE, "list", "--json")
        lines = self.machine.run(*words, user="earmark-archive").splitlines()
        return [json.loads(line)["clip"] for line in lines]


@pytest.fixture(scope="session")
def house(machine: Machine) -> House:
    ada = pyrage.x25519.Identity.generate()
    made = House(machine, ada)
    made.earmark("household", "init", "--system", "--host", "localhost")
    _add_assist(made)
    _without_devices(machine)
    machine.run("ln", "-s", "/etc/mosquitto/earmark/earmark.conf", "/etc/mosquitto/conf.d/")
    machine.run("systemctl", "start", "mosquitto")

    # "Alexa, set a timer for ten minutes."
    sound, rate_hz = soundfile.read(RECORDING, dtype="int16", start=17_920, stop=113_920)
    said = io.BytesIO()
    soundfile.write(said, sound, rate_hz, format="FLAC", subtype="PCM_16")
    machine.put(SAID, said.getvalue())
    machine.write("/etc/earmark/earmark.toml", SPEAKER)
    _join(machine)
    for home in (ARCHIVE, ()):
        made.earmark("owner", "add", *home, "ada", "--key", str(ada.to_public()))
        challenge = made.earmark("owner", "challenge", *home, "ada").encode()
        answer = pyrage.decrypt(challenge, [ada]).decode().strip()
        made.earmark("owner", "confirm", *home, "ada", answer)
    machine.run("systemctl", "kill", "--signal", "HUP", "mosquitto")
    return made


def _without_devices(machine: Machine) -> None:
    """Let play start: udev does not run here, so there are no units of devices to wait for."""
    path = "/usr/lib/systemd/system/earmark-play.service"
    lines = machine.read(path).splitlines()
    kept = [line for line in lines if not line.startswith(("BindsTo=", "After=dev-"))]
    assert len(kept) == len(lines) - 2
    machine.write(path.replace("/usr/lib", "/run"), "\n".join(kept) + "\n")
    machine.run("systemctl", "daemon-reload")


def _add_assist(house: House) -> None:
    """Set up assist as the guide says; there is no Home Assistant behind the address."""
    words = ("household", "add-service", *ARCHIVE, "assist", "--to", "/etc/earmark/assist")
    said = house.earmark(*words)
    config = said.split("assist.toml:\n", 1)[1].partition("write a long-lived")[0]
    house.machine.write(ASSIST_TOML, config)
    house.machine.write("/etc/earmark/assist/token", "a token\n", "0600")


def _join(machine: Machine) -> None:
    """Let the speaker join, as the person does who carries the line over."""
    with machine.start("earmark", "household", "add-device", *ARCHIVE, "hall") as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        line = next(text for text in waiting.stdout if text.startswith("earmark-join-1:"))
        next(text for text in waiting.stderr if "waiting for" in text)
        machine.run("rm", "/etc/earmark/earmark.toml")
        machine.run(
            *("earmark", "household", "join", line.strip(), "--home", "/var/lib/earmark"),
            *("--settings", "/etc/earmark/earmark.toml"),
        )
        assert waiting.wait(40) == 0
    machine.run("mv", "/etc/earmark/earmark.toml", "/etc/earmark/broker.part")
    machine.write("/etc/earmark/earmark.toml", SPEAKER + machine.read("/etc/earmark/broker.part"))


@pytest.fixture(scope="session")
def probes(house: House, seen: transcript.Transcript) -> dict[str, dict[str, str]]:
    """What each unit's sandbox allows and denies, seen from inside, while the real ones run."""
    machine = house.machine
    house.hear(LIVE)
    began_s = time.monotonic()
    machine.run("systemctl", "start", "earmark-hear", "earmark-send")
    seen.took["hear and send"] = time.monotonic() - began_s
    machine.run("systemctl", "start", "earmark-archive", "earmark-assist", "earmark-play")
    machine.write("/opt/earmark/probe.py", (ROOT / "tests" / "units" / "probe.py").read_text())
    listening = machine.start(
        *("python3", "-c", LISTEN, "10.77.0.1:1883", "198.51.100.1:443", "127.0.0.1:1884"),
    )
    assert listening.stdout is not None
    assert listening.stdout.readline() == "listening\n"
    try:
        return {verb: _probe(machine, verb, seen) for verb in VERBS}
    finally:
        listening.kill()
        listening.communicate()


LISTEN = """
import socket, sys
held = []
for address in sys.argv[1:]:
    host, _, port = address.partition(":")
    held.append(socket.create_server((host, int(port))))
print("listening", flush=True)
sys.stdin.read()
"""
OWN = {
    "hear": "/var/lib/earmark",
    "send": "/var/lib/earmark/spool",
    "play": "/run/earmark-voice",
    "archive": "/var/lib/earmark-archive",
    "assist": ASSIST_HOME,
}
WRITABLE = (
    "/var/lib/earmark",
    "/var/lib/earmark/spool",
    "/var/lib/earmark/send",
    "/var/lib/earmark-archive",
    "/var/lib/earmark-archive-public",
    ASSIST_HOME,
    "/run/earmark-voice",
    "/run/earmark-voice/copies",
    "/run/earmark-voice/replies",
)
READS = (
    "/etc/earmark/earmark.toml",
    "/proc/cpuinfo",
    "/proc/sys/kernel/random/boot_id",
    "/etc/shadow",
    "/etc/earmark/tls/me.key",
    "/etc/earmark/archive/s-archive.key",
    "/run/credentials/earmark-send.service/tls_me.key",
    "/var/lib/earmark/device.key",
    "/var/lib/earmark/roster.json",
    "/var/lib/earmark/send/send.lock",
    "/var/lib/earmark-archive/archive.key",
    "/var/lib/earmark-archive/household/ca.key",
    "/var/lib/earmark-archive-public/roster.json",
    "/etc/earmark/assist/token",
    "/run/credentials/earmark-assist.service/assist_token",
    f"{ASSIST_HOME}/assist.key",
)
LISTS = (
    *("/var/lib/earmark", "/var/lib/earmark/spool", "/var/lib/earmark/send"),
    *("/run/earmark-voice/copies", "/run/earmark-voice/replies"),
)
SPEAKS = (
    *("/var/lib/earmark/send/notices.sock", "/var/lib/earmark/control.sock"),
    *("/run/earmark-voice/voice.sock", "/run/earmark-voice/player.sock"),
)
HOSTS = {
    "a broker at home": ("10.77.0.1", 1883),
    "this machine": ("127.0.0.1", 1884),
    "somebody elsewhere": ("198.51.100.1", 443),
}


def _probe(machine: Machine, verb: str, seen: transcript.Transcript) -> dict[str, str]:
    unit = f"earmark-{verb}.service"
    asked = {
        "own": OWN[verb],
        "folders": WRITABLE,
        "reads": READS,
        "lists": LISTS,
        "speaks": SPEAKS,
        "hosts": HOSTS,
        "others": {
            f"earmark-{other}": int(machine.show(f"earmark-{other}", "MainPID")) for other in VERBS
        },
    }
    text = machine.read(machine.show(unit, "FragmentPath"))
    machine.write("/opt/earmark/asked.json", json.dumps(asked))
    instead = ("ExecStart=", "Type=", "Restart", "Watchdog", "[Install]", "WantedBy=")
    kept = [line for line in text.splitlines() if not line.startswith(instead)]
    probe = "/opt/earmark/current/bin/python3 /opt/earmark/probe.py /opt/earmark/asked.json"
    lines = [*kept, "[Service]", "Type=oneshot", f"ExecStart={probe}"]
    machine.write(f"/run/systemd/system/probe-{unit}", "\n".join(lines) + "\n")
    machine.run("systemctl", "daemon-reload")
    done = machine.ask("systemctl", "start", f"probe-{unit}")
    said = machine.said(f"probe-{unit}")
    found = [line for line in said.splitlines() if line.startswith("earmark-probe ")]
    assert found, f"{done.stderr}\n{said}"
    outcome: dict[str, str] = json.loads(found[-1].removeprefix("earmark-probe "))
    seen.probes[verb] = outcome
    return outcome
