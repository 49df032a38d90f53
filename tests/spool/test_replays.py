"""The list of clips that the archive refused because their number was used."""

import hashlib
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.spool.files import SpoolFolder
from listener.spool.queue import Spool
from listener.spool.replays import MOST_LISTED, count_replay, read_replays


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    with SpoolFolder(tmp_path / "spool").lock() as folder:
        yield folder


def test_refusals_are_counted_by_clip(handle: int) -> None:
    for clip in ("a", "b", "a"):
        count_replay(handle, clip)

    assert read_replays(handle) == {"a": 2, "b": 1}


def test_list_is_bounded_and_keeps_the_newest(handle: int) -> None:
    replays = {str(number): 1 for number in range(MOST_LISTED)}
    count_replay(handle, "0")
    path = Path(f"/proc/self/fd/{handle}/replayed.json")
    path.write_text(str(replays).replace("'", '"'))

    count_replay(handle, "0")
    count_replay(handle, "new")

    assert len(read_replays(handle)) == MOST_LISTED
    assert read_replays(handle)["0"] == 2
    assert "1" not in read_replays(handle)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a":"x"}', b"[" * 5000, b"\xff", None])
def test_damaged_list_is_empty_and_replaced(handle: int, data: bytes | None) -> None:
    path = Path(f"/proc/self/fd/{handle}/replayed.json")
    path.write_bytes(data) if data is not None else os.mkfifo(path)

    assert read_replays(handle) == {}
    count_replay(handle, "a")

    assert read_replays(handle) == {"a": 1}


def test_list_is_not_a_foreign_file(
    spool: Spool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool.count_replay("a")
    (folder / "sequence.json").touch()
    caplog.set_level(logging.WARNING)

    assert spool.waiting() == []
    assert spool.quarantined() == {}

    assert "foreign" not in caplog.text


def test_erased_clip_leaves_the_list_of_replays(spool: Spool) -> None:
    quarantined = spool.put(str(uuid.UUID(int=1)), "ada", 1, b"one")
    waiting = spool.put(str(uuid.UUID(int=2)), "ada", 2, b"two")
    spool.quarantine(quarantined)
    for entry in (quarantined, waiting):
        spool.count_replay(entry.clip)
    kept = str(uuid.UUID(int=3))
    spool.count_replay(kept)

    assert spool.delete_erased(quarantined.clip, hashlib.sha256(b"one").hexdigest())
    assert spool.remove(waiting, erased=True)

    with spool._folder.open() as folder:  # noqa: SLF001 - no public method lists ids
        assert read_replays(folder) == {kept: 1}
