"""1,700 recordings of two owners, who use the archive at the same time."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import paho.mqtt.client as paho
import psutil
import pyrage
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from listener.config import SpoolSettings
from listener.envelope import format as form
from listener.envelope.open import open_envelope, parse_identities
from listener.errors import EarmarkError
from listener.mqtt.paho_thread import stop_network_thread
from listener.spool.queue import Spool
from listener.storage.access_log import ACCESS_LOG
from listener.system.log_limit import MOST_IN_ALL

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
RECORDINGS = 1700
WORDS = {"ada": b"ada says this", "bob": b"bob says that"}


def spoken_by(owner: str, _comment: str) -> bytes:
    """Bytes in place of a FLAC of this owner."""
    return b"fLaC" + WORDS[owner]


class Asker:
    """An owner with their key, connected to the archive's socket."""

    def __init__(self, home: Path, name: str, identity: str) -> None:
        self.name = name
        self.identity = pyrage.x25519.Identity.from_str(identity)
        wire = httpx2.HTTPTransport(uds=str(home / "archive.sock"))
        self.http = httpx2.Client(transport=wire, base_url="http://archive", timeout=60)

    def ticket(self, op: str, **fields: object) -> dict[str, Any]:
        asked = {"owner": self.name, "request": {"op": op} | fields}
        told = self.http.post("/v1/tickets", json=asked)
        assert told.status_code == 201, told.text
        return dict(told.json())

    def read(self, ticket: dict[str, Any]) -> bytes:
        return bytes(pyrage.decrypt(ticket["challenge"].encode(), [self.identity]))

    def answer(self, ticket: dict[str, Any], answer: bytes) -> bytes:
        """Return what came, whole or broken off."""
        got = bytearray()
        try:
            with self.http.stream(
                "POST", f"/v1/tickets/{ticket['ticket']}", content=answer
            ) as response:
                for piece in response.iter_bytes():
                    got += piece
        except httpx2.RemoteProtocolError:
            pass  # broken off on purpose
        return bytes(got)

    def ask(self, op: str, **fields: object) -> bytes:
        ticket = self.ticket(op, **fields)
        return self.answer(ticket, self.read(ticket))

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        after = 0
        while after is not None:
            told = json.loads(self.ask("log", after=after))
            rows += [row["body"] for row in told["rows"] if "body" in row]
            after = told["next"]
        return rows


def publish(port: int, messages: list[tuple[str, bytes]]) -> None:
    """Publish as a device would, and wait for the broker's receipts."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "d-hall")
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for told in [client.publish(topic, data, 1) for topic, data in messages]:
        told.wait_for_publish(60)
    client.disconnect()
    stop_network_thread(client)


def answers_to(
    port: int, messages: list[tuple[str, bytes]], good: form.PublicHeader, data: bytes
) -> int:
    """Publish envelopes, and then one that is stored already; count the refusals before its ack."""
    answers: list[bytes] = []
    ready, done = threading.Event(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, "d-asker")
    client.max_queued_messages_set(0)
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        answers.append(bytes(message.payload))
        if message.topic.endswith(good.clip) and not message.payload.startswith(b"refused"):
            done.set()

    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("earmark/v1/ack/hall/+", 1)
    assert ready.wait(60)
    for topic, envelope in [*messages, (topic_of(good), data)]:
        client.publish(topic, envelope, 1)
    assert done.wait(60), "the archive answers the last one"
    client.disconnect()
    stop_network_thread(client)
    return sum(answer.startswith(b"refused:") for answer in answers)


def topic_of(header: form.PublicHeader) -> str:
    return f"earmark/v1/clips/{header.owner}/{header.device}/{header.clip}"


@pytest.fixture
def served(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", home: Path, wait_until: Wait
) -> Iterator["Earmark"]:
    """An archive that takes clips and answers owners."""
    del household
    mosquitto.start("max_inflight_messages 0", "max_queued_messages 0")
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive's socket is there")
    wait_until(lambda: retained_head(mosquitto.port) >= 0, "the archive has found the broker")
    yield earmark
    assert "Traceback" not in earmark.said("archive")


@pytest.fixture
def ada(served: "Earmark", home: Path, household: "Household") -> Iterator[Asker]:
    del served
    asker = Asker(home, "ada", household.identities["ada"])
    yield asker
    asker.http.close()


def clips_in(home: Path) -> int:
    return sum(1 for _ in (home / "archive" / "clips").glob("*/*.earmark"))


def restart(earmark: "Earmark", home: Path, wait_until: Wait) -> None:
    (home / "archive.sock").unlink(missing_ok=True)
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive's socket is there")


def whole(export: bytes) -> dict[str, bytes] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(export)) as found:
            return {name: found.read(name) for name in found.namelist()}
    except zipfile.BadZipFile:
        return None


def cross_index(home: Path) -> None:
    """Give each owner's rows to the other."""
    with sqlite3.connect(home / "archive" / "index.sqlite") as index:
        index.execute("update clip set owner = case owner when 'ada' then 'bob' else 'ada' end")
    index.close()


def cross_rows(home: Path) -> None:
    """Let a row of each owner point at a clip of the other: ids, hashes and numbers exchanged."""
    with sqlite3.connect(home / "archive" / "index.sqlite") as index:
        pair = [
            index.execute(
                "select owner, clip, dkey, seq, sha256, ciphertext_sha256 from clip"
                " where owner = ? order by seq limit 1",
                (owner,),
            ).fetchone()
            for owner in ("ada", "bob")
        ]
        for owner, row in zip(("bob", "ada"), pair, strict=True):
            index.execute("update clip set owner = ? where clip = ?", (owner, row[1]))
    index.close()


def cross_folders(home: Path) -> None:
    """Exchange the names of the two folders."""
    clips = home / "archive" / "clips"
    (clips / "ada").rename(clips / "aside")
    (clips / "bob").rename(clips / "ada")
    (clips / "aside").rename(clips / "bob")


class TwoOwners:
    """Both of them, their clips, and whatever was ever handed out to either."""

    def __init__(self, home: Path, household: "Household") -> None:
        self.home = home
        self.household = household
        self.people = {name: Asker(home, name, key) for name, key in household.identities.items()}
        self.sealed: dict[str, dict[str, bytes]] = {name: {} for name in self.people}
        self.handed_out: list[tuple[str, bytes]] = []

    def close(self) -> None:
        for person in self.people.values():
            person.http.close()

    def seal(self, number: int) -> list[tuple[str, bytes]]:
        """Return messages with clips of both, in turns."""
        messages = []
        for seq in range(1, number + 1):
            owner = "ada" if seq % 2 else "bob"
            header = self.household.header(seq, owner)
            data = self.household.seal(header, partial(spoken_by, owner))
            self.sealed[owner][header.clip] = data
            messages.append((topic_of(header), data))
        return messages

    def export_both(self) -> dict[str, dict[str, bytes] | None]:
        """Let both ask at the same moment; return what is whole."""
        found: dict[str, dict[str, bytes] | None] = {}
        barrier = threading.Barrier(2)

        def ask(name: str) -> None:
            barrier.wait(40)
            got = self.people[name].ask("export")
            self.handed_out.append((name, got))
            found[name] = whole(got)

        threads = [threading.Thread(target=ask, args=(name,)) for name in self.people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return found

    def cross_requests(self) -> None:
        """Ada's question with Bob's answer, and the other way round."""
        ada, bob = self.people["ada"], self.people["bob"]
        own, others = ada.ticket("export"), bob.ticket("export")
        got = [ada.answer(own, bob.read(others)), bob.answer(others, ada.read(own))]
        assert [json.loads(one)["error"] for one in got] == ["proof", "ticket"]
        self.handed_out += zip(self.people, got, strict=True)

    def attempts(self, outcome: str) -> list[int]:
        """Return how many rows of both owners are in each one's log."""
        return [
            sum(
                row["outcome"] == outcome and {row["owner"], row["other"]} == {"ada", "bob"}
                for row in person.rows()
            )
            for person in self.people.values()
        ]

    def check_what_was_handed_out(self) -> None:
        """Whole or broken off, none of it holds a clip that is not the requester's."""
        for name, got in self.handed_out:
            for owner, clips in self.sealed.items():
                assert owner == name or not any(data in got for data in clips.values())

    def check_what_lies_about(self) -> None:
        """Nobody opens a clip of the other from any file that exists anywhere."""
        roster = self.household.home.roster()
        number = 0
        for path in self.home.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            assert not any(words in data for words in WORDS.values())
            if path.suffix != ".earmark":
                continue
            number += 1
            envelope = form.parse_envelope(data)
            (other,) = self.people.keys() - {envelope.header.owner}
            keys = parse_identities(self.household.identities[other].encode(), other)
            with pytest.raises(EarmarkError):
                open_envelope(data, keys, roster.device_keys(), roster.owner_keys())
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(envelope.ciphertext, [self.people[other].identity])
        assert number == RECORDINGS


@pytest.fixture
def both(served: "Earmark", home: Path, household: "Household") -> Iterator[TwoOwners]:
    del served
    made = TwoOwners(home, household)
    yield made
    made.close()


@pytest.mark.timeout(300)
def test_no_clip_of_1700_recordings_reaches_another_owner(
    mosquitto: "Mosquitto", both: TwoOwners, home: Path, wait_until: Wait
) -> None:
    publish(mosquitto.port, both.seal(RECORDINGS))
    wait_until(lambda: clips_in(home) == RECORDINGS, "1,700 clips are kept")

    # Each owner gets all of their clips, and no others.
    for name, found in both.export_both().items():
        assert found is not None
        clips = {Path(one).stem: found[one] for one in found if one.startswith("clips/")}
        assert clips == both.sealed[name]

    # One at a time, and back.
    for cross in (cross_index, cross_rows, cross_folders):
        before = both.attempts("not-hers")
        cross(home)
        assert list(both.export_both().values()) == [None, None], cross.__name__
        for _, got in both.handed_out[-2:]:
            # Not a byte of a ZIP went out: what was sent is the answer that says why.
            assert json.loads(got)["error"] == "not-hers", cross.__name__
        assert all(
            now >= then + 2 for now, then in zip(both.attempts("not-hers"), before, strict=True)
        ), cross.__name__
        cross(home)
        assert None not in both.export_both().values(), cross.__name__
    both.cross_requests()
    assert both.attempts("crossed") == [1, 1]

    # All together.
    before = both.attempts("not-hers")
    for cross in (cross_index, cross_rows, cross_folders):
        cross(home)
    both.cross_requests()
    both.export_both()
    assert both.attempts("crossed") == [2, 2]
    assert both.attempts("not-hers") > before

    both.check_what_was_handed_out()
    both.check_what_lies_about()


def files_of(home: Path) -> list[Path]:
    """Return all files but those that SQLite makes and removes beside a database."""
    files = (path for path in home.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.name.endswith(("-wal", "-shm", "-journal")))


@pytest.mark.timeout(120)
def test_1000_hostile_envelopes_leave_nothing(
    served: "Earmark",
    mosquitto: "Mosquitto",
    household: "Household",
    home: Path,
    ada: Asker,
    wait_until: Wait,
) -> None:
    good = household.header(1)
    true = household.seal(good)
    publish(mosquitto.port, [(topic_of(good), true)])
    wait_until(lambda: clips_in(home) == 1, "the first clip is kept")
    process = psutil.Process(served.pid("archive"))
    before = files_of(home)
    hostile = []
    for number in range(1000):
        header = household.header(number + 2)
        data = bytearray(household.seal(header))
        match number % 8:
            case 0:
                data = bytearray(os.urandom(number * 17 % 5000))
            case 1:
                del data[number % len(data) :]
            case 2:
                data[number % len(data)] ^= 0xFF
            case 3:
                data = data.replace(b'"owner":"ada"', b'"owner":"bob"')
            case 4:
                data = data.replace(b'"clip":"', b'"clip":"../../')
            case 5:
                data += bytes(1_050_000) if number % 40 == 5 else b"x"
            case 6:
                data = bytearray(b"EARMARK/1\n" + b"[" * 2000 + b"\n")
            case _:
                data = data.replace(b"EARMARK/1", b"EARMARK/2")
        hostile.append((topic_of(header), bytes(data)))
    first, rest = hostile[:100], hostile[100:]
    # Those that name another owner get no answer, nor does the empty one: 14 of these.
    assert answers_to(mosquitto.port, first, good, true) >= 80
    rss_bytes = process.memory_info().rss

    assert answers_to(mosquitto.port, rest, good, true) >= 780  # without an answer: 112
    assert served.said("archive").count("refused") <= MOST_IN_ALL

    assert process.is_running()
    assert process.memory_info().rss - rss_bytes < 16 << 20
    assert files_of(home) == before
    assert ada.ask("play", clip=good.clip) == true


@pytest.mark.usefixtures("served")
def test_stock_age_and_curl_exercise_every_right(
    mosquitto: "Mosquitto", household: "Household", home: Path, tmp_path: Path, wait_until: Wait
) -> None:
    header = household.header(1)
    publish(mosquitto.port, [(topic_of(header), household.seal(header))])
    wait_until(lambda: clips_in(home) == 1, "the clip is kept")
    (tmp_path / "ada.key").write_text(household.identities["ada"] + "\n", "utf-8")
    script = f"""
        set -eu
        ask() {{ curl -sS --fail --unix-socket {home}/archive.sock "$@"; }}
        field() {{ python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }}
        ask http://archive/v1/tickets -H 'content-type: application/json' \\
            -d '{{"owner":"ada","request":{{"op":"export"}}}}' > ticket.json
        field challenge < ticket.json | age -d -i ada.key |
            ask http://archive/v1/tickets/$(field ticket < ticket.json) --data-binary @- -o ada.zip
        python3 -m zipfile -e ada.zip out
        tail -n +5 out/clips/*.earmark | age -d -i ada.key > clip.flac
    """

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clip.flac").read_bytes().startswith(b"fLaC")


def test_restored_backup_brings_no_erased_clip_back(
    served: "Earmark",
    mosquitto: "Mosquitto",
    household: "Household",
    home: Path,
    tmp_path: Path,
    ada: Asker,
    wait_until: Wait,
) -> None:
    headers = [household.header(seq) for seq in (1, 2)]
    sealed = [household.seal(header) for header in headers]
    publish(mosquitto.port, [(topic_of(headers[0]), sealed[0])])
    wait_until(lambda: clips_in(home) == 1, "the clip is kept")
    served.kill("archive")
    backup = tmp_path / "backup"
    subprocess.run(["cp", "-a", str(home), str(backup)], check=True)
    restart(served, home, wait_until)
    receipt = json.loads(ada.ask("erase", all=True))["receipt"]
    assert receipt["clips"] == [headers[0].clip]
    # The head that says so has reached the broker.
    wait_until(lambda: retained_head(mosquitto.port) >= receipt["head"]["n"], "it is published")
    served.kill("archive")

    # The folder of the archive from the backup: swept at the start; redelivery refused.
    subprocess.run(["rm", "-r", str(home / "archive")], check=True)
    subprocess.run(
        ["cp", "-a", str(backup / "archive"), str(home / "archive")],
        check=True,
    )
    assert clips_in(home) == 1
    restart(served, home, wait_until)

    def offered_again() -> bool:
        publish(mosquitto.port, [(topic_of(headers[0]), sealed[0])])
        return "refused an envelope (erased)" in served.said("archive")

    wait_until(offered_again, "it is refused")
    assert clips_in(home) == 0
    assert json.loads(ada.ask("list"))["clips"] == []
    served.kill("archive")

    # The whole home from the backup: the head on the broker is ahead of the log.
    subprocess.run(["rm", "-r", str(home)], check=True)
    subprocess.run(["cp", "-a", str(backup), str(home)], check=True)
    restart(served, home, wait_until)
    wait_until(lambda: "does not contain the head" in served.said("archive"), "it is noticed")
    assert "restored" in {row["op"] for row in ada.rows()}
    assert (home / ACCESS_LOG).exists()


def test_erasure_reaches_spool_and_quarantine_of_speakers(
    served: "Earmark",
    mosquitto: "Mosquitto",
    household: "Household",
    home: Path,
    ada: Asker,
    wait_until: Wait,
) -> None:
    spool = Spool(home / "spool", SpoolSettings())
    headers = [household.header(seq) for seq in (1, 2, 3)]
    sealed = [household.seal(header) for header in headers]
    messages = [(topic_of(header), data) for header, data in zip(headers, sealed, strict=True)]
    publish(mosquitto.port, messages)
    wait_until(lambda: clips_in(home) == 3, "the clips are kept")

    # Set aside on a speaker that is there: it lets go when it is told.
    first = spool.put(headers[0].clip, "ada", 1, sealed[0])
    spool.quarantine(first)
    served.start("send")
    wait_until(lambda: "connected" in status_of(mosquitto.port, "hall"), "the speaker is there")
    assert json.loads(ada.ask("erase", clips=[headers[0].clip]))["receipt"]["count"] == 1
    wait_until(lambda: not list((home / "spool" / "quarantine").iterdir()), "it has let go")
    served.kill("send", signal.SIGTERM)

    # Away when its clip was erased, and its acknowledgement was lost: it learns on return.
    for header, data in zip(headers[1:], sealed[1:], strict=True):
        spool.put(header.clip, "ada", header.seq, data)
    assert json.loads(ada.ask("erase", all=True))["receipt"]["count"] == 2
    told = served.run("send", "--once", "--patience", "20")
    assert told.stdout == "sent 0, erased on arrival 2, quarantined 0, waiting 0\n", told.stderr
    assert spool.waiting() == []
    assert clips_in(home) == 0
    assert json.loads(ada.ask("list"))["clips"] == []


def status_of(port: int, device: str) -> str:
    """Return ``connected`` while the broker's retained status of a speaker says online."""
    heard: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "o-watch")
    client.on_message = lambda _c, _d, message: heard.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.subscribe(f"earmark/v1/status/{device}", 1)
    for _ in range(20):
        client.loop(0.05)
        if heard:
            break
    client.disconnect()
    client.loop(0.05)
    return "connected" if heard and json.loads(heard[-1])["state"] == "online" else ""


def retained_head(port: int) -> int:
    """Return the row that the broker's retained head speaks of."""
    heard: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "o-ada")
    client.on_message = lambda _c, _d, message: heard.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.subscribe("earmark/v1/status/archive", 1)
    for _ in range(20):
        client.loop(0.05)
        if heard:
            break
    client.disconnect()
    return int(json.loads(heard[0])["head"]["n"]) if heard else -1
