"""One round for an owner through a real broker: hear starts by itself, and a clip arrives."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest

from tests.system.test_household import Place

if TYPE_CHECKING:
    from tests.system.conftest import Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
ROOT = Path(__file__).resolve().parents[2]
SOUND = ROOT / "tests" / "fixtures" / "alexa_command.flac"


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Place, Place, Place]]:
    made = (Place(tmp_path / "hub"), Place(tmp_path / "speaker"), Place(tmp_path / "laptop"))
    yield made
    for place in made:
        place.earmark.end()


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def test_speaker_starts_when_its_keeper_has_answered(
    places: tuple[Place, Place, Place],
    tmp_path: Path,
    mosquitto: "Mosquitto",
    free_port: int,
    wait_until: Wait,
) -> None:
    hub, speaker, laptop = places
    secret = pyrage.x25519.Identity.generate()
    key, public = tmp_path / "ada.key", str(secret.to_public())
    key.write_text(f"{secret}\n")
    ports = ("--port", str(free_port), "--join-port", str(port()))
    made = hub.must("household", "init", "--host", "localhost", *ports).stdout
    hub.settings.write_text(f"{made[made.index('[broker]') :]}port = {port()}\n")
    speaker.join(hub, "add-device", "hall")
    speaker.settings.write_text(
        f'{speaker.settings.read_text()}\n[attribution]\nkeeper = "ada"\n[mute]\nswitch = "none"\n'
    )
    added = speaker.must("owner", "add", "ada", "--key", public).stdout
    mosquitto.start_with(hub.home / "household" / "mosquitto")
    hub.earmark.start("archive")
    speaker.earmark.start("send")
    hear = speaker.earmark.start("hear", "--microphone", str(SOUND), "--fast")

    bundle, answers = tmp_path / "ada.bundle", tmp_path / "ada.answers"
    told = hub.must("household", "add-owner", "ada", "--key", public, "--bundle", str(bundle))
    waiting = hear.poll() is None
    laptop.must("owner", "answer", str(bundle), "--identity", str(key), "--to", str(answers))
    confirmed = hub.must("household", "confirm-owner", str(answers), "--json", "--patience", "60")

    assert "earmark household add-owner ada --bundle ada.bundle" in added
    assert "hall: a challenge" in told.stdout
    assert waiting  # it neither exited nor opened the recording
    assert [json.loads(line)["state"] for line in confirmed.stdout.splitlines()] == [
        "confirmed",
        "confirmed",
    ]
    wait_until(lambda: hear.poll() == 0, "hear went on by itself and ended with the recording")
    wait_until(lambda: "hall" in hub.must("archive", "list").stdout, "the clip is in the archive")
    listed = laptop.must("clips", "list", "--open").stdout.splitlines()
    assert len(listed) == 2
    assert "alexa at" in listed[1]

    # The archive forgets the owner; the speaker is told why its next clip waits.
    hub.must("owner", "forget", "ada")
    speaker.earmark.end()
    assert speaker.earmark.run("hear", "--microphone", str(SOUND), "--fast").returncode == 0
    sent = speaker.earmark.run("send", "--once", "--patience", "8", "--json")
    assert sent.returncode == 69
    assert json.loads(sent.stdout)["not_stored"] == "owner"
    assert "the archive knows no active owner of this name and key" in sent.stderr
