"""Delivery from spool to archive despite kills, clock jumps, refusals and a full disk."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from listener.config import SpoolSettings
from listener.errors import SpoolFull
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.ipc.notices import NearMissNotice, WakeNotice
from listener.mqtt.paho_thread import stop_network_thread
from listener.spool.queue import Spool

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto, WallClock

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
CLIPS = 200


@pytest.fixture
def spool(home: Path) -> Spool:
    return Spool(home / "spool", SpoolSettings())


def put(spool: Spool, household: "Household", size_bytes: int = 6000, owner: str = "ada") -> str:
    header = household.header(household.home.next_seq(), owner)
    data = household.seal(header, lambda _: b"fLaC" + os.urandom(size_bytes))
    spool.put(header.clip, owner, header.seq, data)
    return header.clip


def archived(earmark: "Earmark") -> list[str]:
    told = earmark.run("archive", "list", "--json")
    assert told.returncode == 0, told.stderr
    return [json.loads(line)["clip"] for line in told.stdout.splitlines()]


@pytest.mark.timeout(120)
def test_200_clips_arrive_exactly_once_despite_kills(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    spool: Spool,
    wait_until: Wait,
) -> None:
    mosquitto.start()
    earmark.start("archive")
    earmark.start("send")
    made = []

    for number in range(CLIPS):
        made.append(put(spool, household, 60_000))
        if number in {30, 90, 150}:
            wait_until(lambda: spool.counts().acked > number - 30, "clips flow")  # noqa: B023 - called at once
            mosquitto.kill()
            if number != 90:
                mosquitto.start()
        if number == 110:
            mosquitto.start()
            earmark.kill("send")
            earmark.start("send")
        if number == 170:
            earmark.kill("archive")
            earmark.start("archive")
    wait_until(lambda: not spool.waiting(), "the spool is empty")

    found = archived(earmark)
    assert len(found) == CLIPS
    assert set(found) == set(made)
    counts = spool.counts()
    assert (counts.spooled, counts.dropped, counts.quarantined) == (CLIPS, 0, 0)


def test_clock_jump_loses_no_clip(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    spool: Spool,
    wall_clock: "WallClock",
    wait_until: Wait,
) -> None:
    mosquitto.start()
    earmark.start("archive")
    earmark.start("send")
    made = []

    for days in (0, -1 / 24, 400, -20 * 365, 0):
        wall_clock.move(timedelta(days=days))
        made += [put(spool, household) for _ in range(3)]
        wait_until(lambda: not spool.waiting(), f"clips arrive {days} days off")

    assert sorted(archived(earmark)) == sorted(made)
    counts = spool.counts()
    assert (counts.acked, counts.dropped, counts.quarantined) == (len(made), 0, 0)
    assert "Traceback" not in earmark.said("send") + earmark.said("archive")


def test_clock_jump_in_the_test_is_real(wall_clock: "WallClock") -> None:
    wall_clock.move(timedelta(hours=-1))

    assert wall_clock.now_s() == pytest.approx(time.time() - 3600, abs=60)


def test_once_empties_the_spool_and_reports_it(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", spool: Spool
) -> None:
    mosquitto.start()
    earmark.start("archive")
    made = {put(spool, household) for _ in range(5)}

    told = earmark.run("send", "--once")

    assert (told.returncode, told.stdout) == (0, "sent 5, quarantined 0, waiting 0\n"), told.stderr
    assert set(archived(earmark)) == made


def test_once_without_a_broker_exits_and_keeps_clips(
    earmark: "Earmark", household: "Household", spool: Spool
) -> None:
    put(spool, household)

    told = earmark.run("send", "--once", "--patience", "0.3")

    assert told.returncode == 69
    assert "error: no connection to the broker" in told.stderr
    assert "Traceback" not in told.stderr
    assert len(spool.waiting()) == 1


def test_once_without_an_archive_exits_and_keeps_clips(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", spool: Spool
) -> None:
    mosquitto.start()
    put(spool, household)

    told = earmark.run("send", "--once", "--patience", "1")

    assert told.returncode == 69
    assert "error: the archive does not acknowledge clips" in told.stderr
    assert len(spool.waiting()) == 1


@pytest.fixture(params=["5", "3.1.1"])
def speaking(request: pytest.FixtureRequest, earmark: "Earmark", tmp_path: Path) -> "Earmark":
    """Verbs that speak one version of MQTT and are soon impatient."""
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8").replace("retry_s = 0.5", "retry_s = 0.2")
    config.write_text(f'{text}broker.protocol = "{request.param}"\n', "utf-8")
    return earmark


@pytest.mark.parametrize(
    "limit", ["max_packet_size 100000", "message_size_limit 100000"], ids=["packet", "message"]
)
def test_clip_over_the_broker_limit_is_quarantined(
    mosquitto: "Mosquitto", speaking: "Earmark", household: "Household", spool: Spool, limit: str
) -> None:
    mosquitto.start(limit)
    speaking.start("archive")
    small = {put(spool, household) for _ in range(2)}
    put(spool, household, 200_000)
    small |= {put(spool, household) for _ in range(6)}

    told = speaking.run("send", "--once", "--patience", "30")

    assert told.stdout == "sent 8, quarantined 1, waiting 0\n", told.stderr
    assert told.returncode == 1
    assert told.stderr.count("quarantined clip") == 1
    assert set(archived(speaking)) == small
    counts = spool.counts()
    assert (counts.quarantined, counts.dropped, counts.acked) == (1, 0, 8)
    assert spool.restore() == 1


def test_clip_refused_by_the_archive_is_quarantined(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", spool: Spool
) -> None:
    mosquitto.start()
    earmark.start("archive")
    header = household.header(household.home.next_seq())
    spool.put(header.clip, "ada", header.seq, b"EARMARK/1\nnot really")
    good = put(spool, household)

    told = earmark.run("send", "--once")

    assert told.stdout == "sent 1, quarantined 1, waiting 0\n"
    assert "the archive refused it: form" in told.stderr
    assert archived(earmark) == [good]


def test_owner_added_later_receives_waiting_clips(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    spool: Spool,
    wait_until: Wait,
) -> None:
    clip = put(spool, household, owner="bob")
    before = household.home.roster()
    household.home.change_roster(lambda roster: roster.without_owner("bob"))
    mosquitto.start()
    earmark.start("archive")
    earmark.start("send")
    wait_until(lambda: "refused an envelope (owner)" in earmark.said("archive"), "a refusal")

    household.home.change_roster(lambda _: before)
    wait_until(lambda: not spool.waiting(), "the spool is empty")

    assert archived(earmark) == [clip]


@pytest.mark.parametrize("verb", ["send", "archive"])
def test_second_send_on_the_same_home_is_refused(
    mosquitto: "Mosquitto", earmark: "Earmark", home: Path, wait_until: Wait, verb: str
) -> None:
    mosquitto.start()
    earmark.start(verb)
    folder = (home / SOCKET).parent if verb == "send" else home
    wait_until((folder / f"{verb}.lock").exists, "the first one runs")

    told = earmark.run(verb)

    assert told.returncode == 69
    assert f"another earmark {verb} already runs" in told.stderr


def test_archive_repairs_the_index_after_a_kill(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    home: Path,
    wait_until: Wait,
) -> None:
    header = household.header(1)
    path = home / "archive" / "clips" / "ada" / f"{header.clip}.earmark"
    path.parent.mkdir(parents=True)
    path.write_bytes(household.seal(header))
    mosquitto.start()

    earmark.start("archive")

    wait_until(lambda: archived(earmark), "the clip has a row")
    assert archived(earmark) == [header.clip]


class Subscriber:
    """Anybody at the broker."""

    def __init__(self, port: int, *topics: str) -> None:
        self.heard: list[tuple[str, bytes, bool, float]] = []
        self._topics = topics
        self.ready = False
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_message = lambda _c, _d, message: self.heard.append(
            (message.topic, bytes(message.payload), message.retain, time.monotonic())
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, client: paho.Client, *_: object) -> None:
        for topic in self._topics:
            client.subscribe(topic, 1)

    def _subscribed(self, *_: object) -> None:
        self.ready = True

    def states(self) -> list[dict[str, object]]:
        return [json.loads(payload) for topic, payload, _, _ in self.heard if "/status/" in topic]

    def close(self) -> None:
        self.client.disconnect()
        stop_network_thread(self.client)


def test_status_is_retained_and_last_will_is_offline(
    mosquitto: "Mosquitto", earmark: "Earmark", wait_until: Wait
) -> None:
    mosquitto.start()
    earmark.start("send")
    wait_until(lambda: earmark.said("send") or True, "send runs")
    subscriber = Subscriber(mosquitto.port, "earmark/v1/status/#")

    wait_until(
        lambda: subscriber.states()[-1:] and subscriber.states()[-1]["state"] == "online", "online"
    )
    earmark.kill("send")
    wait_until(lambda: subscriber.states()[-1]["state"] == "offline", "the last will")
    late = Subscriber(mosquitto.port, "earmark/v1/status/#")
    wait_until(lambda: late.heard, "what was retained")

    assert late.heard[0][:3] == ("earmark/v1/status/hall", b'{"state":"offline"}', True)
    subscriber.close()
    late.close()


def test_wake_event_is_immediate_and_has_no_personal_data(
    mosquitto: "Mosquitto", earmark: "Earmark", home: Path, wait_until: Wait
) -> None:
    mosquitto.start()
    earmark.start("send")
    subscriber = Subscriber(mosquitto.port, "earmark/v1/#")
    wait_until(subscriber.states, "send is online")
    notifier = NoticeSender(home / SOCKET)

    said_s = time.monotonic()
    assert notifier.send(WakeNotice(word="alexa", score=0.987))
    wait_until(lambda: any("/event/" in one[0] for one in subscriber.heard), "an event")
    assert notifier.send(NearMissNotice(word="alexa", score=0.3))
    wait_until(lambda: sum("/event/" in one[0] for one in subscriber.heard) == 2, "both")

    events = [one for one in subscriber.heard if "/event/" in one[0]]
    assert [one[:3] for one in events] == [
        ("earmark/v1/event/hall", b'{"event_type":"wake","word":"alexa"}', False),
        ("earmark/v1/event/hall", b'{"event_type":"near_miss","word":"alexa"}', False),
    ]
    assert events[0][3] > said_s
    notifier.close()
    subscriber.close()


def test_sigterm_publishes_offline_and_exits_0(
    mosquitto: "Mosquitto", earmark: "Earmark", home: Path, wait_until: Wait
) -> None:
    mosquitto.start()
    earmark.start("send")
    earmark.start("archive")
    subscriber = Subscriber(mosquitto.port, "earmark/v1/status/hall")
    wait_until(subscriber.states, "send is online")
    wait_until((home / "archive" / "index.sqlite").exists, "the archive runs")

    assert earmark.kill("send", signal.SIGTERM) == 0
    assert earmark.kill("archive", signal.SIGTERM) == 0

    wait_until(lambda: subscriber.states()[-1] == {"state": "offline"}, "goodbye")
    assert not (home / SOCKET).exists()
    subscriber.close()


def test_hostile_acknowledgements_change_nothing(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    spool: Spool,
    wait_until: Wait,
) -> None:
    clip = put(spool, household)
    mosquitto.start()
    earmark.start("send")
    stranger = Subscriber(mosquitto.port, "earmark/v1/clips/#")
    wait_until(lambda: stranger.heard, "the clip is published")

    for payload in (b"", b"0" * 64, b"\xff" * 5000, b"refused:form:" + b"0" * 64, b"{}"):
        for topic in (clip, "x", "+".replace("+", "y")):
            stranger.client.publish(f"earmark/v1/ack/hall/{topic}", payload, 1).wait_for_publish(5)
    earmark.start("archive")
    wait_until(lambda: not spool.waiting(), "the spool is empty")

    assert archived(earmark) == [clip]
    assert spool.counts().quarantined == 0
    stranger.close()


def test_send_is_small_and_loads_no_audio_or_decryption_code(
    mosquitto: "Mosquitto", earmark: "Earmark", wait_until: Wait
) -> None:
    mosquitto.start()
    process = earmark.start("send")
    subscriber = Subscriber(mosquitto.port, "earmark/v1/status/#")
    wait_until(subscriber.states, "send is online")

    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    maps = Path(f"/proc/{process.pid}/maps").read_text("utf-8")

    assert int(resident) <= 40 * 1024
    for library in ("numpy", "onnxruntime", "pyrage", "cryptography", "portaudio", "sndfile"):
        assert library not in maps
    subscriber.close()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_loses_only_new_clips(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", home: Path
) -> None:
    (home / "spool").mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k,mode=700", "tmpfs", str(home / "spool")],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        spool = Spool(home / "spool", SpoolSettings())
        made, refused = set(), 0
        for _ in range(8):
            before = {entry.clip for entry in spool.waiting()}
            try:
                made.add(put(spool, household, 60_000))
            except SpoolFull:
                refused += 1
                assert {entry.clip for entry in spool.waiting()} == before
        mosquitto.start()
        earmark.start("archive")

        told = earmark.run("send", "--once")

        assert told.returncode == 0, told.stderr
        assert refused > 0
        assert set(archived(earmark)) == made
        counts = spool.counts()
        assert (counts.refused, counts.acked, counts.dropped) == (refused, len(made), 0)
    finally:
        subprocess.run(["umount", str(home / "spool")], check=True)
