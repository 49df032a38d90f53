"""A home: a household with two speakers, its broker, and the broker that Home Assistant uses."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyrage
import soundfile
from numpy.typing import NDArray

from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.household import identity
from listener.household.registry import Speaker
from listener.household.state import HouseholdStore
from listener.ipc.voice_paths import HOME_FOLDER
from listener.storage.home import Home as DataFolder
from tests import cards
from tests.conftest import introduced
from tests.home_assistant.client import PATIENCE_S, Server
from tests.home_assistant.install import Release
from tests.ports import find_free_port
from tests.system.conftest import Earmark, Mosquitto, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
OWNER: Final = "ada"
_SPEECH: Final = ROOT / "tests" / "fixtures" / "alexa_command.flac"
_RATE_HZ: Final = 16_000
_EVERY_S: Final = 20
"""Time between two commands in a speaker's recording."""
_MINUTES: Final = 30
_REPEATS: Final = 6
"""Times that hear plays the recording; it ends with it, and a run of all scenes may take longer."""
_LOUDSPEAKER: Final = "earmark-loud"
_SOUND: Final = "loudspeaker.raw"


@dataclass
class SpeakerProcesses:
    """A speaker: hear on a recording that repeats a command, send, and a loudspeaker."""

    name: str
    area: str
    earmark: Earmark
    folder: Path
    """Its data directory."""

    def start(self) -> None:
        """Start hear first, as at boot."""
        self.earmark.start("hear", "--json")
        self.earmark.start("send")
        self.earmark.start("play", "--verbose")

    def sounded(self) -> Samples:
        """Return all that its loudspeaker has played; int16, shape (n,), without the pauses."""
        file = self.folder / HOME_FOLDER / _SOUND
        data = file.read_bytes() if file.exists() else b""
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2")


@dataclass
class House:
    """All processes of a home."""

    folder: Path
    assistant: Server
    household: Mosquitto
    own: Mosquitto
    hub: Earmark
    owner_key: str
    """The owner's secret key; no process has it."""
    speakers: dict[str, SpeakerProcesses] = field(default_factory=dict)

    def introduce(self, folder: DataFolder) -> None:
        """Add the owner, with a confirmed key, to a data folder."""
        recipient = str(pyrage.x25519.Identity.from_str(self.owner_key).to_public())
        now_s = int(time.time())
        folder.change_roster(partial(introduced, name=OWNER, recipient=recipient, now_s=now_s))

    def run(self, *words: str) -> str:
        """Run a command on the hub."""
        done = self.hub.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def restart_household(self) -> None:
        """Start its broker, which has lost its retained messages; publish as documented."""
        self.household.start_with(self.broker_files)
        self.run("household", "announce")

    @property
    def broker_files(self) -> Path:
        """Folder of the files of the household's mosquitto."""
        return self.folder / "hub" / "household" / "mosquitto"

    def entities(self, speaker: str) -> dict[str, Any]:
        """Return the entity registry's rows of a speaker by the part of their unique id."""
        prefix = f"earmark-{speaker}-"
        return {
            row["unique_id"].removeprefix(prefix): row
            for row in self.assistant.call("config/entity_registry/list")
            if row["platform"] == "mqtt" and row["unique_id"].startswith(prefix)
        }

    def devices(self) -> dict[str, Any]:
        """Return the device registry's rows of the speakers by name."""
        return {
            name.removeprefix("earmark-"): row
            for row in self.assistant.call("config/device_registry/list")
            for kind, name in row["identifiers"]
            if kind == "mqtt" and name.startswith("earmark-")
        }

    def state(self, speaker: str, part: str) -> str | None:
        """Return the state of a speaker's entity."""
        row = self.entities(speaker).get(part)
        found = None if row is None else self.assistant.state(row["entity_id"])
        return None if found is None else str(found["state"])

    def wait_for(self, speaker: str, **states: str) -> float:
        """Wait until entities have states; return the seconds that it took."""
        begun_s = time.monotonic()
        found: dict[str, str | None] = {}

        def is_reached() -> bool:
            rows = self.entities(speaker)
            for part in states:
                row = rows.get(part.replace("_", "-"))
                state = None if row is None else self.assistant.state(row["entity_id"])
                found[part] = None if state is None else str(state["state"])
            return found == states

        try:
            wait_until(is_reached, f"{speaker} shows {states}", PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {found}") from error
        return time.monotonic() - begun_s


@contextmanager
def open_house(program: Path, release: Release, folder: Path) -> Iterator[House]:
    """Build a home, and end all of its processes.

    Args:
        program: the program ``hass``.
        release: its version.
        folder: for all files; it must not exist.
    """
    folder.mkdir(parents=True)
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
    assert mosquitto is not None, "mosquitto is not installed: make debian"
    for name in ("hub", "household", "own"):
        (folder / name).mkdir()
    (folder / "hub.toml").write_text("")
    house = House(
        folder,
        Server(program, release, folder / "ha"),
        Mosquitto(mosquitto, folder / "household", find_free_port()),
        Mosquitto(mosquitto, folder / "own", find_free_port()),
        Earmark(folder / "hub", folder / "hub.toml"),
        str(pyrage.x25519.Identity.generate()),
    )
    try:
        _set_up(house)
        yield house
    finally:
        for speaker in house.speakers.values():
            speaker.earmark.end()
        house.assistant.stop()
        house.own.kill()
        house.household.kill()
        house.hub.end()


def _set_up(house: House) -> None:
    port = str(house.household.port)
    house.run("household", "init", "--host", "localhost", "--port", port)
    certificates = house.folder / "certificates"
    bridge = ("--bridge", str(house.folder / "bridge.conf"))
    house.run("household", "add-service", "home-assistant", "--to", str(certificates), *bridge)
    recording = house.folder / "room.wav"
    soundfile.write(recording, _room(), _RATE_HZ, subtype="PCM_16")
    for name in ("kitchen", "bedroom"):
        house.speakers[name] = _add_speaker(house, name, recording)


def _add_speaker(house: House, name: str, recording: Path) -> SpeakerProcesses:
    # A folder of its own around it, for what its processes print.
    folder = house.folder / name / "data"
    data = DataFolder(folder)
    key = keys.device_text(data.device_key().public_key())
    store = HouseholdStore(house.folder / "hub")
    store.issue(identity.device(name), folder / "tls")
    house.run("household", "add-device", name, "--key", key)
    earmark = Earmark(folder, house.folder / f"{name}.toml")
    # Appended: ALSA's file would begin anew with each sound.
    file = folder / HOME_FOLDER / _SOUND  # where the player may write
    sink = f'type file; slave.pcm "null"; file "|cat >> {file}"; format raw'
    earmark.environment[cards.VARIABLE] = cards.write_settings(
        folder.parent, **{_LOUDSPEAKER: sink}
    )
    speaker = SpeakerProcesses(name, name.capitalize(), earmark, folder)
    entry = Speaker(name=name, area=speaker.area)
    store.update(lambda registry: registry.with_speaker(entry))
    house.introduce(data)
    (house.folder / f"{name}.toml").write_text(
        f'device.name = "{name}"\nattribution.keeper = "{OWNER}"\n'
        f"microphone.files = {json.dumps([str(recording)] * _REPEATS)}\n"
        f'player.device = "{_LOUDSPEAKER}"\nplayer.volume = 1.0\n'
        f'[broker]\nhost = "localhost"\nport = {house.household.port}\n'
        f'ca_file = "{folder}/tls/ca.crt"\n'
        f'certificate_file = "{folder}/tls/d-{name}.crt"\nkey_file = "{folder}/tls/d-{name}.key"\n'
    )
    return speaker


def _room() -> NDArray[np.int16]:
    """Return half an hour of a quiet room in which a command is repeated; int16, 16 kHz."""
    speech, rate_hz = soundfile.read(_SPEECH, dtype="int16")
    assert rate_hz == _RATE_HZ
    # The same noise each time: it decides nothing.
    noise = np.random.default_rng(1).integers(-20, 20, _RATE_HZ * _EVERY_S).astype(np.int16)
    noise[-len(speech) :] += speech
    return np.tile(noise, _MINUTES * 60 // _EVERY_S)
