"""The spool on the disk: whole files, for nobody else, whatever happens.

What lies at the border, by its name alone.
"""

import os
import resource
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.config import SpoolSettings
from listener.errors import SpoolFull, Unavailable
from listener.spool.files import FOLLOWING, QUARANTINE, TERMS, SpoolEntry, open_directory, scan
from listener.spool.ledger import Counts
from listener.spool.queue import Spool
from tests.spool.machine import FakeClock, put


def test_spool_is_readable_by_its_user_alone(spool: Spool, folder: Path) -> None:
    entry = put(spool, 1)
    spool.quarantine(entry)
    put(spool, 2)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "quarantine").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_setgid_folder_is_a_queue_between_two_users(spool: Spool, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o2770)

    spool.quarantine(put(spool, 1))
    put(spool, 2)

    modes = {
        path.name.rpartition(".")[2]: path.stat().st_mode & 0o7777 for path in folder.iterdir()
    }
    # send reads an envelope and removes it; it does not change one.
    assert modes == {"counts": 0o660, "earmark": 0o640, "quarantine": 0o2770}


def test_next_put_removes_incomplete_files(spool: Spool, folder: Path) -> None:
    folder.mkdir()
    part = folder / f"000000000009.ada.{uuid.UUID(int=9)}.earmark.part"
    part.write_bytes(b"half")

    assert spool.oldest() is None
    put(spool, 1)

    assert not part.exists()


def test_only_regular_files_are_read(spool: Spool, folder: Path) -> None:
    link, pipe = (
        SpoolEntry(2, "ada", str(uuid.UUID(int=2))),
        SpoolEntry(3, "ada", str(uuid.UUID(int=3))),
    )
    put(spool, 1)
    (folder / link.name).symlink_to("/etc/passwd")
    os.mkfifo(folder / pipe.name)

    assert spool.read(link) is None
    assert spool.read(pipe) is None


def test_spool_that_is_a_symbolic_link_is_refused(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to("elsewhere")

    with pytest.raises(SpoolFull):
        put(spool, 1)

    with pytest.raises(Unavailable):
        spool.oldest()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def short_files() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("short_files")
def test_full_disk_loses_the_new_clip_alone(folder: Path, clock: FakeClock) -> None:
    spool = Spool(folder, SpoolSettings(most_clips=2), clock)
    kept = [put(spool, 1, b"one"), put(spool, 2, b"two")]

    with pytest.raises(SpoolFull):
        put(spool, 3, bytes(1 << 17))

    assert spool.waiting() == kept
    assert spool.counts() == Counts(spooled=2, refused=1)
    assert not list(folder.glob("*.part"))


CLIP = "00000000-0000-4000-8000-000000000001"


def test_entry_and_file_name_match(tmp_path: Path) -> None:
    entries = [SpoolEntry(2, "bob", CLIP, 3), SpoolEntry(1, "ada", CLIP, 3)]
    for entry in entries:
        (tmp_path / entry.name).write_bytes(b"abc")

    with open_directory(tmp_path) as folder:
        found, foreign = scan(folder)

    assert [entry for entry, _ in found] == sorted(entries)
    assert foreign == 0


def test_only_other_files_are_foreign(tmp_path: Path) -> None:
    for name in ("counts", TERMS, FOLLOWING, f"{SpoolEntry(1, 'ada', CLIP).name}.part", "stranger"):
        (tmp_path / name).touch()
    (tmp_path / QUARANTINE).mkdir()
    (tmp_path / SpoolEntry(9, "ada", CLIP).name).mkdir()

    with open_directory(tmp_path) as folder:
        assert scan(folder) == ([], 2)


def test_open_directory_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(OSError, match="directory"), open_directory(tmp_path / "link"):
        pass
