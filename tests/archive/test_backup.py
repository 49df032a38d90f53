"""Tests of backup and restore: consistent while the archive writes, and no erased clip returns."""

import contextlib
import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive import backup, backup_file
from listener.archive.backup import UNFINISHED, back_up, check_complete, inspect, restore
from listener.archive.backup_file import MEMBERS, BadBackup
from listener.archive.owner_state import ORDERS, OwnerState, make_tombstone
from listener.archive.receiver import Receiver
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.cli.main import main
from listener.envelope import keys
from listener.envelope.format import PublicHeader, parse_envelope
from listener.errors import ConfigError, Unavailable
from listener.storage.access_log import ACCESS_LOG, AccessLog, LogEntry
from listener.storage.atomic import single_instance
from listener.storage.home import Home
from tests.archive.conftest import NOON_S
from tests.archive.stored_clips import replace_file, store_clip, stored_path

if TYPE_CHECKING:
    from tests.conftest import Household


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.tar"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The data directory of a hub on which only the installer has run."""
    home = Home(tmp_path / "fresh")
    home.archive_key()
    home.pin_own_archive()
    with contextlib.closing(FileStore(home.path / "archive")):
        pass
    return home.path


@pytest.fixture
def hub(household: "Household", store: FileStore) -> "Household":
    """A household with an archive that is running: two clips, and one erased."""
    household.home.archive_key()
    with contextlib.closing(AccessLog(household.home.path / ACCESS_LOG, lambda: NOON_S)) as log:
        log.append(LogEntry(owner="ada", op="list", outcome="done"))
    for seq in (1, 2, 3):
        store_clip(store, household, seq, owner="bob" if seq == 2 else "ada")
    return household


def erase(store: FileStore, header: PublicHeader) -> None:
    path = store.path(header.owner, header.clip)
    envelope = parse_envelope(path.read_bytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    store.erase(header.owner, [make_tombstone(envelope, sha256)])


def other_key() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


def served(home: Path) -> list[str]:
    """Return the clips that an archive on this data directory has after its start."""
    roster = Home(home).roster
    mac = RowMac.for_key(Home(home).archive_key())
    with contextlib.closing(FileStore(home / "archive", row_mac=mac)) as opened:
        opened.repair(Receiver(opened, roster, lambda: NOON_S).verify_stored)
        return sorted(row.clip for row in opened.clips())


def test_restored_hub_has_everything_and_nothing_of_a_speaker(
    hub: "Household", store: FileStore, file: Path, fresh: Path
) -> None:
    hub.home.next_seq()
    clips = sorted(row.clip for row in store.clips())

    report = back_up(hub.home.path, file)

    assert (report.clips, report.owners, report.devices, report.left_out) == (
        *(3, ("ada", "bob"), ("hall",), ()),
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert inspect(file).clips == 3
    restored = restore(fresh, file)
    assert (restored.clips, restored.is_merged) == (3, False)
    assert served(fresh) == clips
    assert Home(fresh).roster() == hub.home.roster()
    assert Home(fresh).archive_key().private_bytes_raw() == (
        hub.home.archive_key().private_bytes_raw()
    )
    assert not (fresh / "device.key").exists(), "a speaker's key and number would be used twice"
    assert not (fresh / "sequence").exists()
    with contextlib.closing(AccessLog(fresh / ACCESS_LOG, lambda: NOON_S)) as log:
        assert log.head().n == 1


def test_backup_contains_no_secret_key_of_an_owner(hub: "Household", file: Path) -> None:
    back_up(hub.home.path, file)

    data = file.read_bytes()
    assert b"AGE-SECRET-KEY" not in data
    for secret in hub.identities.values():
        assert secret.encode() not in data


def test_restored_file_keeps_the_begin_of_its_retention(
    hub: "Household", store: FileStore, file: Path, fresh: Path
) -> None:
    before = {row.clip: row.expires_s for row in store.clips()}
    back_up(hub.home.path, file)

    restore(fresh, file)
    (fresh / "archive" / "index.sqlite").unlink()
    served(fresh)

    with contextlib.closing(FileStore(fresh / "archive")) as opened:
        assert {row.clip: row.expires_s for row in opened.clips()} == before


def test_clip_erased_before_the_backup_does_not_return(
    hub: "Household", store: FileStore, file: Path, fresh: Path
) -> None:
    header = store_clip(store, hub, 9)
    data = stored_path(hub.home.path / "archive", header).read_bytes()
    erase(store, header)
    back_up(hub.home.path, file)

    restore(fresh, file)

    path = stored_path(fresh / "archive", header)
    path.write_bytes(data)
    assert header.clip not in served(fresh)
    assert not path.exists()


def test_clip_erased_during_the_copy_does_not_return(
    hub: "Household",
    store: FileStore,
    file: Path,
    fresh: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its file is copied already; the erasures are copied last."""
    header = store_clip(store, hub, 9)
    done = threading.Event()

    def walk_and_erase(archive: Path, place: str) -> list[Path]:
        if place == "quarantine" and not done.is_set():
            erase(store, header)
            done.set()
        return [path for path in (archive / place).rglob("*") if path.is_file()]

    monkeypatch.setattr(backup, "walk", walk_and_erase)

    assert back_up(hub.home.path, file).clips == 4

    monkeypatch.undo()
    restore(fresh, file)
    assert stored_path(fresh / "archive", header).exists()
    assert header.clip not in served(fresh)


def test_clip_that_arrives_during_the_copy_is_whole_or_absent(
    hub: "Household", store: FileStore, file: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[PublicHeader] = []
    original = backup._add_database  # noqa: SLF001 - the moment after the index

    def add_and_store(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type] # passed on as they come
        if not late:
            late.append(store_clip(store, hub, 9))

    monkeypatch.setattr(backup, "_add_database", add_and_store)

    back_up(hub.home.path, file)

    restore(fresh, file)
    assert late[0].clip in served(fresh)


def test_half_overwritten_clip_is_left_out_and_counted(
    hub: "Household", store: FileStore, file: Path
) -> None:
    header = store_clip(store, hub, 9)
    path = stored_path(hub.home.path / "archive", header)
    data = path.read_bytes()
    path.write_bytes(data[:-8] + bytes(8))

    assert back_up(hub.home.path, file).left_out == (str(path.relative_to(hub.home.path)),)
    assert inspect(file).clips == 3


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_not_a_file_is_left_out(
    hub: "Household", store: FileStore, file: Path, kind: str
) -> None:
    header = store_clip(store, hub, 9)
    replace_file(stored_path(hub.home.path / "archive", header), kind)

    assert len(back_up(hub.home.path, file).left_out) == 1


def test_clip_that_is_being_written_is_not_damaged(hub: "Household", file: Path) -> None:
    folder = hub.home.path / "archive" / "clips" / "ada"
    (folder / f".{'0' * 8}.earmark.part").write_bytes(b"the first half")

    assert back_up(hub.home.path, file).left_out == ()


def test_restore_on_the_same_hub_brings_back_lost_files_and_nothing_erased(
    hub: "Household", store: FileStore, file: Path
) -> None:
    lost, erased = store_clip(store, hub, 8), store_clip(store, hub, 9)
    back_up(hub.home.path, file)
    stored_path(hub.home.path / "archive", lost).unlink()
    erase(store, erased)
    store.close()
    roster = hub.home.roster()
    hub.home.change_roster(lambda known: known.with_device("bath", other_key()))

    report = restore(hub.home.path, file)

    assert (report.clips, report.is_merged) == (1, True)
    clips = served(hub.home.path)
    assert lost.clip in clips
    assert erased.clip not in clips
    assert hub.home.roster() != roster, "the newer roster remains"
    assert not (hub.home.path / UNFINISHED).exists()


def test_restore_on_the_same_hub_uses_the_erasures_of_the_backup_where_they_are_lost(
    hub: "Household", store: FileStore, file: Path
) -> None:
    header = store_clip(store, hub, 9)
    data = stored_path(hub.home.path / "archive", header).read_bytes()
    erase(store, header)
    back_up(hub.home.path, file)
    store.close()
    for path in hub.home.path.glob("orders.sqlite*"):
        path.unlink()
    stored_path(hub.home.path / "archive", header).write_bytes(data)

    restore(hub.home.path, file)

    assert header.clip not in served(hub.home.path)


def test_restore_refuses_another_household(
    hub: "Household", file: Path, fresh: Path, tmp_path: Path
) -> None:
    back_up(hub.home.path, file)
    other = Home(tmp_path / "other")
    other.archive_key()
    other.change_roster(lambda roster: roster.with_device("bath", other_key()))
    before = sorted(path.name for path in other.path.rglob("*"))

    with pytest.raises(ConfigError, match="another household"):
        restore(other.path, file)

    assert sorted(path.name for path in other.path.rglob("*") if ".lock" not in path.name) == before
    assert fresh.exists()


@pytest.mark.parametrize("verb", ["archive", "restore"])
def test_restore_refuses_a_directory_in_use(
    hub: "Household", file: Path, fresh: Path, verb: str
) -> None:
    back_up(hub.home.path, file)

    with (
        single_instance(fresh, verb),
        pytest.raises(Unavailable, match=f"another earmark {verb} already runs"),
    ):
        restore(fresh, file)


def test_backup_refuses_while_a_restore_runs(hub: "Household", file: Path) -> None:
    with (
        single_instance(hub.home.path, "restore"),
        pytest.raises(Unavailable, match="another earmark restore already runs"),
    ):
        back_up(hub.home.path, file)
    assert not file.exists()


def test_interrupted_restore_is_reported_and_repeated(
    hub: "Household", store: FileStore, file: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = sorted(row.clip for row in store.clips())
    back_up(hub.home.path, file)
    write, count = backup._write, 0  # noqa: SLF001 - each file that a restore writes

    def fail_at_the_fourth(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise Unavailable("the power is gone")
        write(*arguments)  # type: ignore[arg-type] # passed on as they come

    monkeypatch.setattr(backup, "_write", fail_at_the_fourth)
    with pytest.raises(Unavailable):
        restore(fresh, file)
    monkeypatch.undo()

    with pytest.raises(ConfigError, match="did not finish"):
        check_complete(fresh)
    with pytest.raises(ConfigError, match="did not finish"):
        back_up(fresh, file.with_name("other.tar"))
    assert main(["archive", "--home", str(fresh)]) == 78
    restore(fresh, file)
    check_complete(fresh)
    assert served(fresh) == clips


def test_limits_after_a_restore_have_higher_numbers(
    hub: "Household", store: FileStore, file: Path, fresh: Path
) -> None:
    """A speaker ignores a retention limit that is not newer than the last one."""
    store.owner_state.set_retention("ada", 9)
    back_up(hub.home.path, file)
    for days in (8, 7, 6):
        store.owner_state.set_retention("ada", days)
        store.owner_state.set_retention("bob", days)
    accepted = {limit.owner: limit.n for limit in store.owner_state.retention_limits()}

    restore(fresh, file)

    with contextlib.closing(OwnerState(fresh / ORDERS)) as state:
        assert state.retention_days() == {"ada": 9}
        state.set_retention("bob", 5)
        for limit in state.retention_limits():
            assert limit.n > accepted[limit.owner]


def test_backup_does_not_replace_a_file(hub: "Household", file: Path) -> None:
    file.write_text("another")

    with pytest.raises(BadBackup, match="exists already"):
        back_up(hub.home.path, file)

    assert file.read_text() == "another"
    assert sorted(path.name for path in file.parent.glob(".*")) == []


def test_backup_of_nothing_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="is not the data directory of an archive"):
        back_up(tmp_path, file)


def test_failed_backup_leaves_no_file(hub: "Household", file: Path) -> None:
    (hub.home.path / "access.sqlite").write_bytes(b"no database" * 100)

    with pytest.raises(Unavailable):
        back_up(hub.home.path, file)

    assert list(file.parent.glob("*hub*")) == []


def damage_end(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damage_byte(data: bytes) -> bytes:
    at = data.index(b"sqlite") + 5000
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage", [damage_end, damage_byte, lambda _: b"", lambda data: b"\0" * len(data)]
)
def test_damaged_backup_changes_nothing(
    hub: "Household", file: Path, fresh: Path, damage: Callable[[bytes], bytes]
) -> None:
    back_up(hub.home.path, file)
    file.write_bytes(damage(file.read_bytes()))
    before = (fresh / "archive.key").read_bytes()

    with pytest.raises(BadBackup, match="is not a complete backup"):
        restore(fresh, file)

    assert (fresh / "archive.key").read_bytes() == before
    assert not (fresh / UNFINISHED).exists()


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "archive/clips/../../outside.earmark",
        "archive/quarantine/ada/..",
        "archive/quarantine/ada/.",
        "archive/quarantine/ada/a/b",
        "archive/quarantine/ada/a\nb",
        "device.key",
        "sequence",
        "household/issued/../../x.key",
        "archive/clips/ada/x.earmark",
        "orders.sqlite-wal",
        "restore-unfinished",
    ],
)
def test_files_with_other_names_are_refused(
    hub: "Household", file: Path, fresh: Path, name: str
) -> None:
    back_up(hub.home.path, file)
    with tarfile.open(file, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))

    assert not MEMBERS.fullmatch(name)
    with pytest.raises(BadBackup):
        restore(fresh, file)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_and_folders_are_refused(
    hub: "Household", file: Path, fresh: Path, kind: bytes
) -> None:
    back_up(hub.home.path, file)
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo("archive.key")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)

    with pytest.raises(BadBackup):
        restore(fresh, file)


def test_backup_is_a_tar_with_sums_that_other_tools_verify(
    hub: "Household", file: Path, tmp_path: Path
) -> None:
    back_up(hub.home.path, file)
    to = tmp_path / "unpacked"
    shutil.unpack_archive(file, to, "tar", filter="data")

    lines = (to / backup_file.SUMS).read_text().splitlines()

    assert lines
    names = {line.split("  ", 1)[1] for line in lines}
    assert names == {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()} - {
        backup_file.SUMS
    }
    with contextlib.closing(sqlite3.connect(to / "orders.sqlite")) as orders:
        assert orders.execute("pragma integrity_check").fetchone() == ("ok",)


def test_copy_while_the_archive_writes_is_consistent(
    hub: "Household", store: FileStore, file: Path, fresh: Path
) -> None:
    """A thread stores and erases all the time; each copy verifies, and no erased clip returns."""
    erased: set[str] = set()
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        seq = 100
        try:
            while not stop.is_set():
                header = store_clip(store, hub, seq)
                if seq % 2:
                    erase(store, header)
                    erased.add(header.clip)
                seq += 1
        except BaseException as error:  # noqa: BLE001 - the test reports it
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for turn in range(3):
            report = back_up(hub.home.path, file.with_name(f"{turn}.tar"))
            assert report.clips >= 3
    finally:
        stop.set()
        thread.join()

    assert failures == []
    erased_then = set(erased)
    restore(fresh, file.with_name("2.tar"))
    with contextlib.closing(OwnerState(fresh / ORDERS)) as state:
        tombstones = {clip for clip in erased_then if state.is_erased(clip)}
    clips = set(served(fresh))
    assert not tombstones & clips
    assert len(clips) >= 3


SETTINGS = b'[archive]\nhost = "0.0.0.0"\nport = 9443\n'


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The configuration of the hub's archive, as its administrator changed it."""
    path = tmp_path / "etc" / "archive.toml"
    path.parent.mkdir()
    path.write_bytes(SETTINGS)
    return path


def test_configuration_is_restored_and_the_present_one_is_kept(
    hub: "Household", file: Path, fresh: Path, settings: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "new.toml"
    installed.write_bytes(b"# of the installer\n")
    installed.chmod(0o640)
    assert back_up(hub.home.path, file, settings).has_configuration
    assert inspect(file).has_configuration

    report = restore(fresh, file, installed)

    assert report.restored_configuration
    assert installed.read_bytes() == SETTINGS
    kept = installed.with_name("new.toml.before-restore")
    assert kept.read_bytes() == b"# of the installer\n"
    assert {path.stat().st_mode & 0o777 for path in (installed, kept)} == {0o640}
    assert not (fresh / "configuration").exists()


def test_configuration_is_restored_where_none_is(
    hub: "Household", file: Path, fresh: Path, settings: Path, tmp_path: Path
) -> None:
    back_up(hub.home.path, file, settings)

    report = restore(fresh, file, tmp_path / "other" / "archive.toml")

    assert report.restored_configuration
    assert (tmp_path / "other" / "archive.toml").read_bytes() == SETTINGS
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["archive.toml"]


def test_configuration_of_a_repeated_restore_replaces_no_kept_one(
    hub: "Household", file: Path, fresh: Path, settings: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "new.toml"
    installed.write_bytes(b"# of the installer\n")
    back_up(hub.home.path, file, settings)
    restore(fresh, file, installed)
    (fresh / UNFINISHED).touch()

    assert restore(fresh, file, installed).restored_configuration

    assert installed.with_name("new.toml.before-restore").read_bytes() == b"# of the installer\n"


def test_configuration_of_the_same_hub_stays(hub: "Household", file: Path, settings: Path) -> None:
    back_up(hub.home.path, file, settings)
    settings.write_bytes(b"# newer\n")

    report = restore(hub.home.path, file, settings)

    assert report.is_merged
    assert not report.restored_configuration
    assert settings.read_bytes() == b"# newer\n"
    assert not (hub.home.path / "configuration").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"[archive]\nfrom_a_later_version = 1\n",
        b"\xff\xfe",
        b"#" * (1 << 20) + b"#",
        b'home = "/srv/another"\n',
    ],
)
def test_configuration_that_does_not_fit_is_not_restored(
    hub: "Household", file: Path, fresh: Path, settings: Path, text: bytes
) -> None:
    rewrite(file, hub, settings, text)
    settings.write_bytes(b"# present\n")

    report = restore(fresh, file, settings)

    assert (report.has_configuration, report.restored_configuration) == (True, False)
    assert settings.read_bytes() == b"# present\n"
    assert served(fresh)


def rewrite(file: Path, hub: "Household", settings: Path, text: bytes) -> None:
    """Make a backup whose configuration is another one, with sums that are right."""
    back_up(hub.home.path, file, settings)
    with tarfile.open(file) as tar:
        contents = {
            member.name: source.read()
            for member in tar
            if (source := tar.extractfile(member)) is not None
        }
    contents[backup_file.CONFIGURATION] = text
    del contents[backup_file.SUMS]
    file.unlink()

    def fill(writer: backup_file.BackupWriter, _: Path) -> None:
        for name, data in contents.items():
            writer.add(name, io.BytesIO(data), len(data), 0)

    backup_file.write_backup(file, fill)


def test_commands_carry_the_configuration_that_is_named(
    hub: "Household",
    file: Path,
    fresh: Path,
    settings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = tmp_path / "new.toml"
    new.write_text("# of the installer\n")
    words = ["household", "backup", str(file), "--home", str(hub.home.path)]
    assert main([*words, "--config", str(settings)]) == 0
    capsys.readouterr()

    words = ["household", "restore", str(file), "--home", str(fresh), "--config", str(new)]
    assert main(words) == 0

    assert f"restored {new}\n" in capsys.readouterr().out
    assert new.read_bytes() == SETTINGS


def test_command_says_why_the_configuration_was_not_restored(
    hub: "Household",
    file: Path,
    fresh: Path,
    settings: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    back_up(hub.home.path, file, settings)

    assert main(["household", "restore", str(file), "--home", str(fresh)]) == 0

    printed = capsys.readouterr()
    assert "configuration/archive.toml was not restored: no --config names" in printed.err
    assert "archive.toml" not in printed.out


def test_commands(
    hub: "Household", file: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["household", "backup", str(file), "--home", str(hub.home.path)]

    assert main(words) == 0
    assert f"wrote {file}: 3 clips, 2 owners, 1 speaker" in capsys.readouterr().out
    assert main(words) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["household", "restore", "--check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 3
    assert main(["household", "restore", str(file), "--home", str(fresh)]) == 0
    assert "earmark household init --system" in capsys.readouterr().out
    assert main(["household", "restore", str(file), "--home", str(fresh)]) == 0
    assert "only clips whose files were missing" in capsys.readouterr().out
    (hub.home.path / "archive" / "clips" / "ada" / f"{'0' * 36}.earmark").write_bytes(b"x")
    assert main([*words[:2], str(file.with_name("2.tar")), *words[3:]]) == 1
    assert f"left out: archive/clips/ada/{'0' * 36}.earmark" in capsys.readouterr().err
