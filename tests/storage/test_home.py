import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.errors import ConfigError, DiskFull, EarmarkError, Unavailable
from listener.owner.roster import Roster
from listener.storage.atomic import write_atomic
from listener.storage.home import Home
from listener.storage.reserve import RESERVE

COUNT_FOR_EVER = """
import sys
from pathlib import Path
from listener.storage.home import Home
home = Home(Path(sys.argv[1]))
while True:
    print(home.next_seq(), flush=True)
"""
ADD_OWNERS = """
import sys
from pathlib import Path
import pyrage
from listener.storage.home import Home
home = Home(Path(sys.argv[1]))
for number in range(10):
    key = str(pyrage.x25519.Identity.generate().to_public())
    home.change_roster(lambda roster: roster.with_owner(f"{sys.argv[2]}-{number}", key))
"""

ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from listener.errors import Unavailable
from listener.storage.home import Home
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
# A limit on the length of files stands in for a disk without room.
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
try:
    Home(Path(sys.argv[1])).next_seq()
except Unavailable as error:
    code = error.hint != "free some space on that disk"
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(code)
"""


def python(script: str, *words: str, measured: bool = True) -> subprocess.Popen[str]:
    """Run a script; one that will be killed is not measured, for it would leave half a file."""
    environment = {k: v for k, v in os.environ.items() if measured or not k.startswith("COVERAGE")}
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True, env=environment
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def made_key() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture
def fresh(tmp_path: Path) -> Home:
    """A home whose folder does not exist yet."""
    return Home(tmp_path / "a" / "home")


def test_reading_a_missing_home_creates_nothing(fresh: Home) -> None:
    roster = fresh.roster()

    assert roster == Roster()
    assert not fresh.path.parent.exists()


def test_device_key_is_created_once_with_mode_0600(fresh: Home) -> None:
    first = fresh.device_key()

    assert Home(fresh.path).device_key().public_key() == first.public_key()
    assert mode(fresh.path) == 0o700
    assert mode(fresh.path / "device.key") == 0o600


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o666])
def test_device_key_readable_by_others_is_refused(bits: int, fresh: Home) -> None:
    fresh.device_key()
    (fresh.path / "device.key").chmod(bits)

    with pytest.raises(ConfigError, match="can be read by others") as caught:
        fresh.device_key()
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("damage", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\n"])
def test_damaged_device_key_is_never_replaced(damage: bytes, fresh: Home) -> None:
    fresh.device_key()
    (fresh.path / "device.key").write_bytes(damage)

    with pytest.raises(ConfigError, match="damaged"):
        fresh.device_key()
    with pytest.raises(ConfigError, match="damaged"):
        fresh.next_seq()
    assert (fresh.path / "device.key").read_bytes() == damage


def test_device_key_that_is_not_a_file_is_refused(fresh: Home) -> None:
    (fresh.path / "device.key").mkdir(parents=True, mode=0o700)

    with pytest.raises(EarmarkError):
        fresh.device_key()


def test_sequence_starts_at_one_and_continues_after_restart(fresh: Home) -> None:
    assert [fresh.next_seq(), fresh.next_seq(), Home(fresh.path).next_seq()] == [1, 2, 3]


def test_new_device_key_restarts_the_sequence(fresh: Home) -> None:
    fresh.next_seq()
    (fresh.path / "device.key").unlink()

    assert fresh.next_seq() == 1


@pytest.mark.parametrize(
    "text", [b"", b"7", b"x\n", b"-1\n", b" 7\n", b"7\n\n", b"\xff\n", b"1" * 13 + b"\n", b"7\0\n"]
)
def test_damaged_sequence_is_an_error(text: bytes, fresh: Home) -> None:
    fresh.next_seq()
    (fresh.path / "sequence").write_bytes(text)

    with pytest.raises(ConfigError, match="is damaged"):
        fresh.next_seq()
    assert (fresh.path / "sequence").read_bytes() == text


def test_missing_sequence_is_an_error(fresh: Home) -> None:
    fresh.device_key()
    (fresh.path / "sequence").unlink()

    with pytest.raises(ConfigError, match="is missing"):
        fresh.next_seq()


def test_sequence_ends_at_the_envelope_maximum(fresh: Home) -> None:
    fresh.device_key()
    (fresh.path / "sequence").write_bytes(b"999999999998\n")

    assert fresh.next_seq() == 999_999_999_999
    with pytest.raises(ConfigError, match="has reached its maximum"):
        fresh.next_seq()


def test_threads_never_get_the_same_number(fresh: Home) -> None:
    fresh.device_key()
    found: list[int] = []

    def count() -> None:
        found.extend(fresh.next_seq() for _ in range(10))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == list(range(1, 41))


@pytest.mark.system
def test_sequence_number_is_not_reused_after_a_kill(fresh: Home) -> None:
    seen: list[int] = []
    for enough in (1, 5, 9):
        with python(COUNT_FOR_EVER, str(fresh.path), measured=False) as process:
            assert process.stdout is not None
            seen.extend(int(process.stdout.readline()) for _ in range(enough))
            process.send_signal(signal.SIGKILL)
            seen.extend(int(line) for line in process.stdout if line.endswith("\n"))

    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert fresh.next_seq() > seen[-1]


def test_roster_edit_is_stored(fresh: Home) -> None:
    key = made_key()

    after = fresh.change_roster(lambda roster: roster.with_owner("ada", key))

    assert Home(fresh.path).roster() == after
    assert mode(fresh.path / "roster.json") == 0o600


def test_failed_roster_edit_changes_nothing(fresh: Home) -> None:
    fresh.change_roster(lambda roster: roster.with_owner("ada", made_key()))
    before = (fresh.path / "roster.json").read_bytes()

    with pytest.raises(EarmarkError):
        fresh.change_roster(lambda roster: roster.without_owner("bob"))
    assert (fresh.path / "roster.json").read_bytes() == before


def test_roster_edit_without_change_writes_nothing(fresh: Home) -> None:
    fresh.change_roster(lambda roster: roster)

    assert not (fresh.path / "roster.json").exists()


def test_damaged_roster_is_an_error_and_not_replaced(fresh: Home) -> None:
    fresh.device_key()
    (fresh.path / "roster.json").write_bytes(b"{")

    with pytest.raises(ConfigError, match="damaged"):
        fresh.roster()
    with pytest.raises(ConfigError, match="damaged"):
        fresh.change_roster(lambda roster: roster.with_owner("ada", made_key()))
    assert (fresh.path / "roster.json").read_bytes() == b"{"


@pytest.mark.system
def test_concurrent_roster_edits_are_all_stored(fresh: Home) -> None:
    with (
        python(ADD_OWNERS, str(fresh.path), "left") as left,
        python(ADD_OWNERS, str(fresh.path), "right") as right,
    ):
        left.communicate()
        right.communicate()

    assert (left.returncode, right.returncode) == (0, 0)
    assert len(fresh.roster().owners) == 20


def test_world_writable_folder_is_refused(fresh: Home) -> None:
    fresh.device_key()
    fresh.path.chmod(0o777)

    with pytest.raises(ConfigError, match="world-writable"):
        fresh.device_key()


def test_home_that_cannot_be_created_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="cannot use"):
        Home(tmp_path / "file").device_key()
    with pytest.raises(Unavailable, match="cannot use"):
        Home(tmp_path / "file").roster()


@pytest.mark.system
def test_full_disk_keeps_the_old_file_and_is_unavailable(fresh: Home) -> None:
    fresh.next_seq()

    with python(ON_A_FULL_DISK, str(fresh.path)) as process:
        process.communicate()

    assert process.returncode == 0
    assert sorted(path.name for path in fresh.path.iterdir()) == ["device.key", "lock", "sequence"]
    assert fresh.next_seq() == 2
    assert keys.device_id(fresh.device_key().public_key())


def test_archive_key_is_created_once_and_differs_from_device(fresh: Home) -> None:
    first = fresh.archive_key().public_key()

    assert Home(fresh.path).archive_key().public_key() == first
    assert fresh.device_key().public_key() != first
    assert (fresh.path / "archive.key").stat().st_mode & 0o777 == 0o600
    (fresh.path / "archive.key").chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        fresh.archive_key()


def test_numbers_that_were_used_are_skipped(home: Path) -> None:
    found = Home(home)
    assert found.next_seq() == 1

    assert found.skip_seqs(5, 1000) == 4
    assert found.skip_seqs(5, 1000) == 0
    assert found.skip_seqs(3, 1000) == 0
    assert found.next_seq() == 6
    assert found.skip_seqs(1 << 60, 1000) == 1000
    assert found.next_seq() == 1007
    assert found.skip_seqs(1 << 60, 1 << 60) == 999_999_999_999 - 1007
    with pytest.raises(ConfigError, match="reached its maximum"):
        found.next_seq()


def test_archive_pins_its_own_key_unless_another_is_pinned(home: Path) -> None:
    found = Home(home)
    found.pin_own_archive()
    own = found.archive_key().public_key()
    assert found.pinned_archive() == own

    other = Ed25519PrivateKey.generate().public_key()
    found.pin_archive(other)
    found.pin_own_archive()

    assert found.pinned_archive() == other


def test_roster_is_changed_on_a_full_disk_with_a_reserve(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner's new key does not wait until there is room."""
    installation = Home(home)
    key = str(pyrage.x25519.Identity.generate().to_public())
    reserve = home / RESERVE

    def write(path: Path, data: bytes, mode: int) -> None:
        if reserve.exists():
            raise DiskFull(path)
        write_atomic(path, data, mode)

    monkeypatch.setattr("listener.storage.home.write_atomic", write)
    reserve.write_bytes(b"reserve")

    installation.change_roster(lambda roster: roster.with_owner("ada", key))

    assert installation.roster().owner("ada") is not None
    assert not reserve.exists()


@pytest.mark.parametrize("name", ["Ada", "ADA", "adda"])
def test_keeper_of_almost_the_right_name_is_suggested(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path)
    key = str(pyrage.x25519.Identity.generate().to_public())
    home.change_roster(lambda roster: roster.with_owner("ada", key))

    with pytest.raises(ConfigError, match=f"'{name}' is not in the roster") as caught:
        home.keeper(name)

    assert caught.value.hint == "did you mean ada?"


def test_keeper_of_another_name_is_to_be_added(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Home(tmp_path).keeper("zoe")

    assert "earmark owner add zoe" in caught.value.hint
