"""Attacks on what is stored: full disks, raw blocks, forged refusals, floods, forgotten files."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from listener.archive.disk import ArchiveDisk
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.config import SpoolSettings
from listener.envelope import format as form
from listener.mqtt.paho_thread import stop_network_thread
from listener.spool.queue import Spool
from listener.storage.access_log import ACCESS_LOG, AccessLog, LogEntry
from listener.storage.home import Home
from listener.storage.locations import ARCHIVE_LOCATIONS, SPEAKER_LOCATIONS, find_location
from listener.storage.reserve import RESERVE
from tests.archive.test_disk import FakeDisk
from tests.ports import find_free_port
from tests.system.conftest import Earmark, Mosquitto, wait_until
from tests.system.test_rights import Asker

if TYPE_CHECKING:
    from tests.conftest import Household

pytestmark = pytest.mark.system

DAY_S = 86_400


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """Mount a file system for the block; yield whether this machine allows it."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte; return the file that does it."""
    path = folder / "filler"
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(handle, b"x" * size)
    finally:
        os.close(handle)
    return path


class Place:
    """A household: broker, archive and one speaker, each with a home of its own."""

    def __init__(self, tmp_path: Path, home: Path, household: "Household", port: int) -> None:
        self.home = home
        self.household = household
        self.speaker_home = tmp_path / "speaker-home"
        self.speaker_home.mkdir()
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert program is not None, "mosquitto is not installed: make debian"
        self.broker = Mosquitto(program, tmp_path, port)
        text = f'device.name = "hall"\nbroker.port = {port}\nspool.retry_s = 0.5\n'
        self.config = tmp_path / "earmark.toml"
        self.config.write_text(text)
        self.archive = Earmark(home, self.config)
        self.speaker = Earmark(self.speaker_home, self.config)
        self.spool = Spool(self.speaker_home / "spool", SpoolSettings())
        self.sealed: dict[str, bytes] = {}
        self._seq = 0

    def configure(self, line: str) -> None:
        """Add a line to the configuration."""
        with self.config.open("a") as file:
            file.write(f"{line}\n")

    def put(self, clips: int, size_bytes: int = 3000, **fields: Any) -> list[form.PublicHeader]:  # noqa: ANN401 - header fields
        """Seal clips into the speaker's spool."""
        headers = []
        for _ in range(clips):
            self._seq += 1
            header = self.household.header(self._seq, **fields)
            data = self.household.seal(header, lambda _: b"fLaC" + os.urandom(size_bytes))
            self.spool.put(header.clip, header.owner, header.seq, data)
            self.sealed[header.clip] = data
            headers.append(header)
        return headers

    def start_archive(self) -> Asker:
        """Start the archive; return ada as its client."""
        (self.home / "archive.sock").unlink(missing_ok=True)
        process = self.archive.start("archive")

        def listens() -> bool:
            assert process.poll() is None, self.archive.said("archive")
            return (self.home / "archive.sock").exists()

        wait_until(listens, "the archive listens")
        return Asker(self.home, "ada", self.household.identities["ada"])

    def stored(self) -> set[str]:
        """Return the ids of the archived clips."""
        return {path.stem for path in (self.home / "archive" / "clips").glob("*/*.earmark")}

    def end(self) -> None:
        self.archive.end()
        self.speaker.end()
        self.broker.kill()


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def place(tmp_path: Path, home: Path, household: "Household", port: int) -> Iterator[Place]:
    made = Place(tmp_path, home, household, port)
    made.broker.start()
    yield made
    made.end()


class Watcher:
    """Names of all files below a folder, also of those that exist for a moment."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self.seen: dict[Path, set[str]] = {folder: set() for folder in folders}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def look(self) -> None:
        for folder, seen in self.seen.items():
            for top, _, names in os.walk(folder):
                seen.update((Path(top) / name).relative_to(folder).as_posix() for name in names)

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()


def test_every_file_of_archive_and_speaker_is_on_the_list(place: Place, home: Path) -> None:
    before = {path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir()}
    place.configure("archive.clips_per_hour = 12")
    with Watcher(home, place.speaker_home) as watcher:
        ada = place.start_archive()
        place.speaker.start("send")
        place.put(10)
        wait_until(lambda: len(place.stored()) == 10, "ten clips are stored")
        for seq in (900, 901):  # refused for good, and set aside
            clip = place.household.header(seq).clip
            place.spool.put(clip, "ada", seq, b"EARMARK/1\nforged")
        wait_until(lambda: len(place.spool.quarantined()) == 2, "forged clips are in quarantine")
        place.put(5)
        wait_until(lambda: place.spool.suspended() == "deferred", "the device is over its limit")
        ada.ask("retention", days=3)
        ada.ask("export")
        ada.ask("erase", clips=[min(place.stored())])
        ada.http.close()
        place.archive.kill("archive")
        odd = home / "archive" / "clips" / "ada" / f"{place.household.header(950).clip}.earmark"
        odd.write_bytes(b"junk")
        ada = place.start_archive()
        ada.ask("erase", all=True)
        ada.http.close()

    archive_files = watcher.seen[home] - before
    speaker_files = watcher.seen[place.speaker_home]
    assert "archive/limits.json" in archive_files
    assert "reserve" in archive_files
    assert any(name.startswith("archive/quarantine/ada/") for name in archive_files)
    assert {"spool/suspended", "spool/counts"} < speaker_files
    for names, locations in (
        (archive_files, ARCHIVE_LOCATIONS),
        (speaker_files, SPEAKER_LOCATIONS),
    ):
        assert [name for name in sorted(names) if find_location(name, locations) is None] == []


def check_rights_on_a_fake_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to mount a small disk: SQLite reports a full one."""
    disk = FakeDisk(place.home)
    monkeypatch.setattr(sqlite3, "connect", disk.connect)
    folder = place.home / "archive"
    store = FileStore(folder)
    log = AccessLog(place.home / ACCESS_LOG, time.time)
    guard = ArchiveDisk(store, folder, 0)
    guard.upkeep()
    for header in place.put(20):
        envelope = form.parse_envelope(place.sealed[header.clip])
        store.keep(envelope, place.sealed[header.clip], int(time.time()))
    disk.is_full = True

    for record in list(store.clips()):
        log.append(LogEntry(owner="ada", op="list", outcome="done"))
        row = store.row(record.clip)
        assert row is not None
        store.erase("ada", [row[1]])

    assert place.stored() == set()
    assert disk.failures > 0
    store.close()
    log.close()


def test_owner_lists_and_erases_on_a_full_disk_and_no_clip_is_lost(
    place: Place, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    place.configure("archive.least_free_bytes = 1048576")
    with mounted(disk, "-t", "tmpfs", "-o", "size=32m", "none") as is_mounted:
        if not is_mounted:
            check_rights_on_a_fake_disk(place, monkeypatch)
            return
        shutil.copytree(home, disk / "home")
        place.home = disk / "home"
        place.archive = Earmark(place.home, place.config)
        ada = place.start_archive()
        place.speaker.start("send")
        first = place.put(60, 60_000)
        wait_until(lambda: len(place.stored()) == 60, "sixty clips are stored")
        wait_until((place.home / RESERVE).exists, "the reserve is made")
        filler = fill(disk)

        lists = [len(json.loads(ada.ask("list"))["clips"]) for _ in range(20)]
        counts = [
            json.loads(ada.ask("erase", clips=[header.clip]))["receipt"]["count"]
            for header in first[:20]
        ]
        assert lists == [60] * 20
        assert counts == [1] * 20
        ada.http.close()

        # A start on a full disk, with the reserve that a start with room left.
        place.archive.kill("archive")
        filler.unlink()
        ada = place.start_archive()
        wait_until((place.home / RESERVE).exists, "the reserve is made again")
        ada.http.close()
        place.archive.kill("archive")
        fill(disk)
        ada = place.start_archive()
        assert len(json.loads(ada.ask("list"))["clips"]) == 40
        erased = json.loads(ada.ask("erase", clips=[first[20].clip]))["receipt"]["clips"]
        assert erased == [first[20].clip]

        fill(disk)
        new = place.put(10, 20_000)
        wait_until(
            lambda: "almost full" in place.archive.said("archive"), "new clips are not taken"
        )
        assert not {header.clip for header in new} & place.stored()

        # Expiry makes room, and then the new clips arrive.
        ada.http.close()
        place.archive.kill("archive")
        row_mac = RowMac.for_key(Home(place.home).archive_key())
        store = FileStore(place.home / "archive", row_mac=row_mac)
        assert store.expire(int(time.time()) + 31 * DAY_S) == 39
        store.close()
        ada = place.start_archive()
        wait_until(lambda: len(place.stored()) == 10, "the new clips are stored")
        wait_until(lambda: not place.spool.waiting(), "the spool is empty")
        ada.http.close()
        assert place.stored() == {header.clip for header in new}
        assert "Traceback" not in place.archive.said("archive")
        place.archive.end()
    counts_of_spool = place.spool.counts()
    assert (counts_of_spool.acked, counts_of_spool.dropped, counts_of_spool.quarantined) == (
        *(70, 0, 0),
    )


def test_disk_holds_nothing_of_erased_clips(place: Place, home: Path, tmp_path: Path) -> None:
    """On the blocks of a small disk; without the right to mount one, in every file of the home."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if mkfs is not None:
        subprocess.run([mkfs, "-q", "-F", image], check=True)
    with mounted(disk, "-o", "loop", str(image)) as is_mounted:
        shutil.copytree(home, disk / "home")
        place.home = disk / "home"
        place.configure("archive.least_free_bytes = 0")
        place.archive = Earmark(place.home, place.config)
        ada = place.start_archive()
        made = [
            header
            for second in range(30)
            for header in place.put(1, t=f"2026-11-20T03:04:{second:02d}.000Z")
        ]
        assert place.speaker.run("send", "--once").returncode == 0

        def read_disk() -> bytes:
            if not is_mounted:
                files = [path for path in place.home.rglob("*") if path.is_file()]
                return b"".join(path.read_bytes() for path in files)
            subprocess.run(["sync"], check=True)
            return image.read_bytes()

        def found() -> tuple[int, int, int]:
            """Count clips whose ciphertext, signed header or time is on the disk."""
            raw = read_disk()
            sealed = [place.sealed[header.clip] for header in made]
            return (
                sum(data[2000:2100] in raw or data[-300:-200] in raw for data in sealed),
                sum(data.split(b"\n")[1] in raw for data in sealed),
                sum(header.t.encode() in raw for header in made),
            )

        # A restart deletes the log of the index; what was in it must be gone with the clips.
        ada.http.close()
        place.archive.kill("archive", signal.SIGTERM)
        ada = place.start_archive()
        assert found() == (30, 30, 30)

        receipt = json.loads(ada.ask("erase", all=True))["receipt"]
        ada.http.close()

        assert receipt["count"] == 30
        assert found() == (0, 0, 0)
        place.archive.kill("archive", signal.SIGTERM)
        assert found() == (0, 0, 0)


class Impostor:
    """A client that answers every clip in the archive's name."""

    def __init__(self, port: int, answer: Callable[[str], str]) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)

        def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            _, _, _, _, device, clip = message.topic.split("/")
            sha256 = hashlib.sha256(message.payload).hexdigest()
            self.client.publish(f"earmark/v1/ack/{device}/{clip}", answer(sha256), 1)

        self.client.on_message = on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("earmark/v1/clips/#", 1)
        self.client.loop_start()

    def end(self) -> None:
        self.client.disconnect()
        stop_network_thread(self.client)


def test_forged_refusals_cost_no_clip(place: Place, port: int) -> None:
    place.put(60)
    impostor = Impostor(port, lambda sha256: f"refused:form:{sha256}")

    sent = place.speaker.run("send", "--once", "--patience", "3")
    impostor.end()

    assert sent.returncode == 69
    assert "refused 20 clips in a row" in sent.stderr
    assert (len(place.spool.quarantined()), len(place.spool.waiting())) == (20, 40)
    assert place.spool.counts().dropped == 0
    doctor = place.speaker.run("doctor", "--json").stdout
    spool = next(row for row in map(json.loads, doctor.splitlines()) if row["check"] == "spool")
    assert "refused 20 clips in a row" in spool["text"]

    ada = place.start_archive()
    ada.http.close()
    released = place.speaker.run("send", "--once", "--release", "--patience", "30")
    assert released.returncode == 0, released.stderr
    assert len(place.stored()) == 60


def test_flood_of_one_device_is_deferred_and_told_to_owner_and_doctor(place: Place) -> None:
    place.configure("archive.clips_per_hour = 5")
    ada = place.start_archive()
    place.put(8)

    sent = place.speaker.run("send", "--once", "--patience", "3")

    assert sent.returncode == 69
    assert "defers clips" in sent.stderr
    assert (len(place.stored()), len(place.spool.waiting())) == (5, 3)
    assert len(place.spool.quarantined()) == 0
    assert [row["count"] for row in ada.rows() if row["op"] == "deferred"] == [1]
    ada.http.close()
    doctor = place.archive.run("doctor", "--json").stdout
    rows = {row["check"]: row for row in map(json.loads, doctor.splitlines())}
    assert "hall" in rows["device-limits"]["text"]
