"""Speakers that are stolen, revoked, set up again, restored from a copy or copied."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from listener.config import SpoolSettings
from listener.envelope import keys
from listener.hear.sequence import SequenceNumbers
from listener.household import identity
from listener.household.state import HouseholdStore
from listener.mqtt import sequence
from listener.mqtt.paho_thread import stop_network_thread
from listener.mqtt.sequence import AcceptedSequence
from listener.spool.queue import Spool
from tests.system.conftest import earmark, free_port, mosquitto, wait_until_fixture
from tests.system.test_rights import Asker, ada, publish, restart, served, topic_of, whole

if TYPE_CHECKING:
    from listener.envelope.format import PublicHeader
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

__all__ = ["ada", "earmark", "free_port", "mosquitto", "served", "wait_until_fixture"]

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]


def seal(
    household: "Household", seq: int, device: str = "hall", key: Ed25519PrivateKey | None = None
) -> tuple["PublicHeader", bytes]:
    """Seal a clip of ada's as a device would."""
    signer = key or household.device_key
    dkey = keys.device_id(signer.public_key())
    header = household.header(seq, "ada", device=device, dkey=dkey)
    return header, household.seal(header, key=signer)


def stored(home: Path) -> set[str]:
    return {path.stem for path in (home / "archive" / "clips" / "ada").glob("*.earmark")}


def household_does(
    served: "Earmark", home: Path, *words: str
) -> "subprocess.CompletedProcess[str]":
    """Run an action of ``earmark household`` on the archive's computer."""
    command = served.command("household")[:4]
    return subprocess.run(
        [*command, *words, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_all_rights(ada: Asker, clips: set[str]) -> dict[str, bytes]:
    """Check that the owner lists, plays and exports exactly these clips; return the export."""
    listed = {row["clip"] for row in json.loads(ada.ask("list"))["clips"]}
    entries = whole(ada.ask("export"))
    assert entries is not None
    exported = {Path(name).stem for name in entries if name.startswith("clips/")}
    assert listed == exported == clips
    assert all(ada.ask("play", clip=clip).startswith(b"EARMARK/1\n") for clip in clips)
    assert "left-out.jsonl" not in entries
    assert not [row for row in ada.rows() if row["outcome"] == "not-hers"]
    return entries


@pytest.mark.timeout(120)
def test_owner_keeps_all_rights_after_a_speaker_is_revoked(
    served: "Earmark",
    mosquitto: "Mosquitto",
    household: "Household",
    home: Path,
    ada: Asker,
    wait_until: Wait,
    tmp_path: Path,
) -> None:
    bath = Ed25519PrivateKey.generate()
    bath_text = keys.device_text(bath.public_key())
    household.home.change_roster(lambda roster: roster.with_device("bath", bath_text))
    made = [seal(household, seq) for seq in (1, 2, 3)]
    made += [seal(household, seq, "bath", bath) for seq in (1, 2)]
    publish(mosquitto.port, [(topic_of(header), data) for header, data in made])
    clips = {header.clip for header, _ in made}
    wait_until(lambda: stored(home) == clips, "the clips are stored")

    # A speaker known by its key alone: nothing is done before this is said.
    early = household_does(served, home, "init", "--host", "localhost")
    assert early.returncode == 0, early.stderr
    early = household_does(served, home, "revoke", "d-hall")
    assert (early.returncode, early.stdout) == (1, "")
    assert "no certificate" in early.stderr
    assert set(household.home.roster().device_keys()) == {"bath", "hall"}

    # Stolen and revoked. The thief goes on sending.
    HouseholdStore(home).issue(identity.device("hall"), tmp_path / "given")
    assert household_does(served, home, "revoke", "d-hall").returncode == 0
    late, late_data = seal(household, 4)
    after, after_data = seal(household, 3, "bath", bath)
    publish(mosquitto.port, [(topic_of(late), late_data), (topic_of(after), after_data)])
    clips.add(after.clip)
    wait_until(lambda: after.clip in stored(home), "the other speaker's clip is stored")
    assert check_all_rights(ada, clips).keys() >= {"retired-devices.json"}
    wait_until(lambda: household.home.roster().retired_devices[0].last_seq == 3, "the bound is set")

    # The index is made anew, as the archive's own hint says.
    served.kill("archive")
    for path in (home / "archive").glob("index.sqlite*"):
        path.unlink()
    # And the thief, who can also write into the folder, adds the refused clip.
    (home / "archive" / "clips" / "ada" / f"{late.clip}.earmark").write_bytes(late_data)
    restart(served, home, wait_until)
    check_all_rights(ada, clips)
    assert len(list((home / "archive" / "quarantine").iterdir())) == 1

    # A new speaker in its place, of the same name.
    fresh = Ed25519PrivateKey.generate()
    text = keys.device_text(fresh.public_key())
    assert household_does(served, home, "add-device", "hall", "--key", text).returncode == 0
    header, data = seal(household, 1, "hall", fresh)

    def offered() -> bool:
        publish(mosquitto.port, [(topic_of(header), data)])
        return header.clip in stored(home)

    wait_until(offered, "the new speaker's clip is stored")
    check_all_rights(ada, clips | {header.clip})

    # The owner's client agrees.
    secret = tmp_path / "ada.key"
    secret.write_text(household.identities["ada"] + "\n")
    words = ("--owner", "ada", "--identity", str(secret), "--archive", str(home / "archive.sock"))
    own = ("--home", str(tmp_path / "laptop"))
    command = served.command("clips")[:4]
    target = str(tmp_path / "ada.zip")
    for action in (["export", *words, "--to", target], ["verify", target]):
        told = subprocess.run(
            [*command, *action, *own], capture_output=True, text=True, check=False, timeout=60
        )
        assert told.returncode == 0, told.stderr


class RestorableSpeaker:
    """The speaker of a household: its numbers and spool, without a microphone."""

    def __init__(self, household: "Household") -> None:
        self._household = household
        self._home = household.home
        self.sequence = self._home.path / "sequence"
        self.spool = Spool(self._home.path / "spool", SpoolSettings())
        self._home.pin_archive(self._home.archive_key().public_key())

    def record(self, number: int) -> list[int]:
        """Seal clips as hear does after a start; return their numbers."""
        numbers = SequenceNumbers(self._home, "hall", self._household.device_key.public_key())
        found = []
        for _ in range(number):
            header, data = seal(self._household, numbers.next_seq())
            self.spool.put(header.clip, "ada", header.seq, data)
            found.append(header.seq)
        return found


@pytest.fixture
def speaker(household: "Household") -> RestorableSpeaker:
    return RestorableSpeaker(household)


def sent(served: "Earmark", *words: str) -> str:
    told = served.run("send", "--once", *words)
    assert "Traceback" not in told.stderr
    return told.stdout


@pytest.mark.timeout(120)
def test_restored_card_goes_on_above_the_accepted_numbers(
    served: "Earmark", speaker: RestorableSpeaker, home: Path
) -> None:
    copy = speaker.sequence.read_bytes()
    assert speaker.record(4) == [1, 2, 3, 4]
    assert sent(served) == "sent 4, quarantined 0, waiting 0\n"

    # Restored, and used before it was connected: these clips cannot be stored.
    speaker.sequence.write_bytes(copy)
    (home / "spool" / "sequence.json").unlink()
    assert speaker.record(2) == [1, 2]
    assert sent(served) == "sent 0, quarantined 2, waiting 0\n"
    assert speaker.record(3) == [5, 6, 7]
    assert sent(served) == "sent 3, quarantined 0, waiting 0\n"

    # Their loss is counted and explained, and they are not released for ever.
    assert sent(served, "--release").startswith("released 2 clips")
    assert sent(served, "--release").startswith("released 0 clips from quarantine\n2 clips stay")
    assert speaker.spool.counts().quarantined == 4
    findings = served.run("doctor", "--json").stdout.splitlines()
    (found,) = [one for one in map(json.loads, findings) if one.get("check") == "replays"]
    assert (found["verdict"], found["text"][:8]) == ("warn", "2 clips ")
    assert "restored from a copy" in found["text"]
    assert not any("--release" in line for line in findings)
    assert len(stored(home)) == 7


@pytest.mark.timeout(120)
def test_two_machines_with_one_card_stay_visible(
    served: "Earmark", speaker: RestorableSpeaker, home: Path
) -> None:
    refused = 0
    for _ in range(3):
        copy = speaker.sequence.read_bytes()
        speaker.record(1)
        speaker.sequence.write_bytes(copy)  # the other machine, at the same moment
        speaker.record(1)
        told = sent(served)
        refused += "quarantined 1" in told

    assert refused == 3
    assert len(stored(home)) == 3
    assert speaker.spool.counts().quarantined == 3
    assert served.said("archive").count("refused an envelope (replay)") == 3
    assert "another machine has its key" in served.run("doctor").stdout


@pytest.fixture
def operator(served: "Earmark", mosquitto: "Mosquitto") -> Iterator[paho.Client]:
    """A client that may publish anything: the broker's operator."""
    del served
    client = paho.Client(CallbackAPIVersion.VERSION2, f"operator-{uuid.uuid4().hex[:8]}")
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    yield client
    client.disconnect()
    stop_network_thread(client)


@pytest.mark.timeout(120)
def test_numbers_rise_by_statements_of_the_archive_only(
    served: "Earmark",
    speaker: RestorableSpeaker,
    household: "Household",
    operator: paho.Client,
    home: Path,
) -> None:
    assert speaker.record(2) == [1, 2]
    assert sent(served) == "sent 2, quarantined 0, waiting 0\n"
    dkey = keys.device_id(household.device_key.public_key())
    high = AcceptedSequence(device="hall", dkey=dkey, seq=900_000_000_000)
    forged = sequence.encode(high, Ed25519PrivateKey.generate().sign)
    low = AcceptedSequence(device="hall", dkey=dkey, seq=1)
    old = sequence.encode(low, household.home.archive_key().sign)
    other = AcceptedSequence(device="bath", dkey=dkey, seq=900_000_000_000)
    of_another = sequence.encode(other, household.home.archive_key().sign)

    for payload in (forged, old, of_another, b"900000000000", b""):
        operator.publish("earmark/v1/sequence/hall", payload, 1, retain=True).wait_for_publish(60)
        speaker.record(1)
        assert sent(served).startswith("sent 1, quarantined 0")

    assert speaker.record(1) == [8]
    # A process that sends and was taken over writes the file itself.
    (home / "spool" / "sequence.json").write_bytes(forged)
    assert speaker.record(1) == [9]
