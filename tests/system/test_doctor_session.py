"""doctor beside a running send, at a broker that is configured as the household writes it."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from listener.config import BrokerSettings
from listener.doctor.broker_session import check_broker_session
from listener.household import identity
from listener.household.state import HouseholdStore
from listener.mqtt.client import ConnectedEvent
from listener.mqtt.connection_record import ConnectionRecord, read_record, record_path
from listener.mqtt.paho_client import PahoBroker
from listener.storage.atomic import single_instance
from tests.system.conftest import Earmark, Mosquitto

if TYPE_CHECKING:
    from listener.household.registry import Registry

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
HALL = identity.device("hall")


def create_household(folder: Path, port: int) -> HouseholdStore:
    folder.mkdir()
    store = HouseholdStore(folder)

    def settle(before: "Registry") -> "Registry":
        return msgspec.structs.replace(before, hosts=("localhost",), port=port)

    store.set_up(settle)
    store.issue(HALL, folder / "hall")
    return store


def settings_of(store: HouseholdStore, port: int) -> BrokerSettings:
    folder = store.path.parent / "hall"
    return BrokerSettings(
        host="localhost",
        port=port,
        ca_file=str(folder / "ca.crt"),
        certificate_file=str(folder / "d-hall.crt"),
        key_file=str(folder / "d-hall.key"),
    )


@pytest.fixture
def hub(tmp_path: Path, free_port: int, mosquitto: Mosquitto) -> HouseholdStore:
    """A household whose broker runs."""
    store = create_household(tmp_path / "hub", free_port)
    mosquitto.start_with(store.published().broker)
    return store


@pytest.fixture
def speaker(tmp_path: Path, hub: HouseholdStore, free_port: int) -> Iterator[Earmark]:
    """The speaker hall of the household."""
    settings = settings_of(hub, free_port)
    names = ("ca_file", "certificate_file", "key_file")
    files = "".join(f'{name} = "{getattr(settings, name)}"\n' for name in names)
    config = tmp_path / "earmark.toml"
    config.write_text(
        f'device.name = "hall"\nmicrophone.files = ["talk.flac"]\n'
        f'[broker]\nhost = "localhost"\nport = {free_port}\n{files}'
    )
    (tmp_path / "speaker").mkdir()
    made = Earmark(tmp_path / "speaker", config)
    yield made
    made.end()


def broker_finding(speaker: Earmark) -> dict[str, Any]:
    findings = map(json.loads, speaker.run("doctor", "--json").stdout.splitlines())
    return next(finding for finding in findings if finding["check"] == "broker")


def connect_as_send(settings: BrokerSettings) -> None:
    """Connect with the certificate of the speaker, as doctor did once."""
    client = PahoBroker(settings, "doctor-1")
    client.connect()
    for _ in range(100):
        if any(isinstance(event, ConnectedEvent) for event in client.poll(0.1)):
            break
    client.close()


def test_doctor_leaves_the_session_of_send_open(
    tmp_path: Path,
    hub: HouseholdStore,
    speaker: Earmark,
    mosquitto: Mosquitto,
    free_port: int,
    wait_until: Wait,
) -> None:
    record = record_path(tmp_path / "speaker" / "send", "send")

    def is_connected() -> bool:
        found = read_record(record)
        return found is not None and found.connected

    speaker.start("send")
    wait_until(is_connected, "send is connected")

    finding = broker_finding(speaker)

    assert finding["verdict"] == "ok", finding
    assert "send is connected, in MQTT 5" in finding["text"]
    assert finding["facts"] == {"role": "speaker"}
    assert "closing old connection" not in mosquitto.said()
    assert "no connection" not in speaker.said("send")

    # The same broker closes send's session for a client that does connect.
    connect_as_send(settings_of(hub, free_port))
    wait_until(lambda: "no connection to the broker" in speaker.said("send"), "session closed")
    assert "closing old connection" in mosquitto.said()


def test_doctor_connects_fully_if_send_does_not_run(hub: HouseholdStore, speaker: Earmark) -> None:
    del hub

    finding = broker_finding(speaker)

    assert finding["verdict"] == "ok", finding
    assert "answers, in MQTT 5" in finding["text"]


@contextlib.contextmanager
def running_send(folder: Path, **fields: object) -> Iterator[None]:
    """Hold send's lock, with what it reported last."""
    with single_instance(folder, "send"):
        record_path(folder, "send").write_bytes(msgspec.json.encode(fields))
        yield


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("none", "send is connected"),
        ("certificate", "the broker refuses the certificate of this computer"),
        ("authority", "certificate verification failed"),
        ("revoked", "the broker refuses the certificate of this computer: certificate revoked"),
        ("host", "certificate verification failed"),
        ("broker", "Connection refused"),
        ("key", "cannot use the certificates"),
    ],
)
@pytest.mark.parametrize("runs", [True, False])
def test_faults_are_detected_whether_send_runs_or_not(
    tmp_path: Path,
    hub: HouseholdStore,
    mosquitto: Mosquitto,
    free_port: int,
    damage: str,
    text: str,
    *,
    runs: bool,
) -> None:
    settings = settings_of(hub, free_port)
    other = settings_of(create_household(tmp_path / "other", free_port), free_port)
    match damage:
        case "certificate":
            settings = msgspec.structs.replace(other, ca_file=settings.ca_file)
        case "authority":
            settings = msgspec.structs.replace(settings, ca_file=other.ca_file)
        case "revoked":
            hub.update(lambda registry: registry.without(HALL, int(hub.now().timestamp())))
            hub.publish()
            mosquitto.kill()
            mosquitto.start_with(hub.published().broker)
        case "host":
            settings = msgspec.structs.replace(settings, host="127.0.0.1")
        case "broker":
            mosquitto.kill()
        case "key":
            shutil.copyfile(other.key_file or "", settings.key_file or "")
        case _:
            text = text if runs else "answers, in MQTT 5"
    folder = tmp_path / "send"
    address = f"{settings.host}:{free_port}"
    lock = running_send(folder, address=address, connected=True, protocol="5")

    with lock if runs else contextlib.nullcontext():
        finding = check_broker_session(settings, folder, "send")

    assert text in finding.text
    assert finding.verdict == ("ok" if damage == "none" else "fail")
    assert finding.hint or damage == "none"


@pytest.mark.parametrize(
    ("fields", "verdict", "text", "hint"),
    [
        ({"connected": False}, "warn", "has not reported", "run earmark doctor again"),
        (
            {"connected": False, "reason": "Not authorized"},
            "fail",
            "send is not connected: Not authorized",
            "journalctl -u earmark-send",
        ),
        (
            {"connected": False, "reason": "it broke", "hint": "wait for it"},
            "fail",
            "it broke",
            "wait for it",
        ),
        (
            {"connected": True, "protocol": "5", "address": "old.lan:1883"},
            "warn",
            "send uses old.lan:1883",
            "systemctl restart earmark-send",
        ),
        ({"connected": "yes"}, "warn", "has not reported", "run earmark doctor again"),
    ],
)
def test_report_of_a_running_send_is_shown(
    tmp_path: Path,
    hub: HouseholdStore,
    free_port: int,
    fields: dict[str, object],
    verdict: str,
    text: str,
    hint: str,
) -> None:
    fields = {"address": f"localhost:{free_port}"} | fields

    with running_send(tmp_path / "send", **fields):
        finding = check_broker_session(settings_of(hub, free_port), tmp_path / "send", "send")

    assert finding.verdict == verdict
    assert text in finding.text
    assert hint in finding.hint


def test_record_of_an_ended_send_does_not_count(
    tmp_path: Path, hub: HouseholdStore, mosquitto: Mosquitto, free_port: int
) -> None:
    record = ConnectionRecord(address=f"localhost:{free_port}", connected=True, protocol="5")
    (tmp_path / "send").mkdir()
    record_path(tmp_path / "send", "send").write_bytes(msgspec.json.encode(record))
    mosquitto.kill()

    finding = check_broker_session(settings_of(hub, free_port), tmp_path / "send", "send")

    assert finding.verdict == "fail"
