"""Attribution by voice under the unit of hear: its limit of memory, its sandbox, and mute."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from tests.units.conftest import SAID, House
from tests.units.machine import Machine

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

QUIET = "/usr/share/earmark/silence.flac"
QUIET_S = 50
"""Time for which hear still runs after the clip; the process that compares voices ends after 60 s
without a request."""
CHILD = "listener.hear.voiceprint.embedding_process"
CHIME = "listener.hear.indicators.chime_process"
NO_CARD = "pcm.!default { type null }\nctl.!default { type null }\n"
"""asound.conf of a loudspeaker without a card: ALSA takes the samples and drops them."""
ENROL = f"""
from datetime import UTC, datetime
from pathlib import Path
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.storage.home import Home
from listener.storage.recordings import open_recording
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.record import Voiceprint, encode_vector
home = Home(Path("/var/lib/earmark"))
with open_recording(Path("{SAID}")) as recording:
    samples = recording.read(160_000)
network = SpeakerEmbedding.load()
VoiceprintStore(home.path).write(
    Voiceprint(
        owner="ada",
        okey=home.roster().known_owner("ada").okey,
        device=keys.device_text(home.device_key().public_key()),
        model=network.model_sha256,
        vector=encode_vector(network.embed(samples)),
        threshold=0.0,
        sentences=1,
        speech_s=2.0,
        t=format_timestamp(datetime.now(UTC)),
    ),
    home.device_key(),
)
"""


def child_of_hear(machine: Machine, module: str = CHILD) -> str:
    """Return the process that runs a module, or nothing."""
    # The brackets keep this search from finding itself.
    found = machine.ask("sh", "-c", f"grep -lsa '{module[:-1]}[s]' /proc/[0-9]*/cmdline").stdout
    return found.split("/")[2] if found else ""


@pytest.fixture
def enrolled(house: House) -> Iterator[House]:
    """A speaker whose keeper is enrolled, with the recording of a command and silence after it."""
    machine = house.machine
    machine.run("systemctl", "stop", "earmark-hear")
    machine.run("/opt/earmark/current/bin/python3", "-c", ENROL, user="earmark-hear")
    quiet = io.BytesIO()
    soundfile.write(quiet, np.zeros(QUIET_S * 16_000, np.int16), 16_000, format="FLAC")
    machine.put(QUIET, quiet.getvalue())
    machine.run("rm", "-f", "/var/lib/earmark/mute.json")
    house.hear(f'[microphone]\nfiles = ["{SAID}", "{QUIET}"]\n')
    toml = machine.read("/etc/earmark/earmark.toml")
    changed = toml.replace(
        '[attribution]\nkeeper = "ada"\n',
        '[attribution]\nkeeper = "ada"\nmode = "keeper-voice"\nthreshold = 0.1\n'
        "[clip]\npre_roll_s = 0\n[chime]\non_wake = true\n",
    )
    assert changed != toml
    machine.write("/etc/earmark/earmark.toml", changed)
    machine.write("/etc/asound.conf", NO_CARD)
    machine.run("systemctl", "start", "earmark-send", "earmark-archive")
    yield house
    machine.run("systemctl", "stop", "earmark-hear", "earmark-send", "earmark-archive")
    machine.run("rm", "-rf", "/var/lib/earmark/mute.json", "/var/lib/earmark/voiceprints")
    machine.run("rm", "/etc/asound.conf")


def test_clip_after_the_chime_is_attributed_by_voice_and_mute_ends_the_process(
    enrolled: House,
) -> None:
    machine = enrolled.machine
    before = len(enrolled.archived())

    machine.run("systemctl", "restart", "earmark-hear")
    machine.wait_until(lambda: len(enrolled.archived()) > before, "a clip in the archive")

    pid = child_of_hear(machine)
    assert pid, machine.said("earmark-hear")
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    peak_kib = int(status["VmHWM"].split()[0])
    locked_kib = int(status["VmLck"].split()[0])
    assert 0 < peak_kib <= 144 * 1_024
    assert locked_kib > 0, "no page of it is swapped"
    chime = child_of_hear(machine, CHIME)
    assert chime, machine.said("earmark-hear")
    assert "cannot play the chime" not in machine.said("earmark-hear")
    enrolled.earmark("mute", "on")
    machine.wait_until(lambda: not child_of_hear(machine), "the end of the process")
    assert child_of_hear(machine, CHIME) == chime
    assert machine.show("earmark-hear", "NRestarts") == "0"
    assert machine.show("earmark-hear", "ActiveState") == "active"
