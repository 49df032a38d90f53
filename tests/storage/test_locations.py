"""The list of places where clips and data about them are stored."""

from pathlib import Path

import pytest

from listener.archive.owner_state import ORDERS
from listener.archive.store import INDEX
from listener.mqtt.connection_record import record_path
from listener.send.inbound import PIN
from listener.spool.files import ACCEPTED, FOLLOWING, REPLAYED, SUSPENDED, TERMS
from listener.spool.files import QUARANTINE as SPOOL_QUARANTINE
from listener.spool.ledger import LEDGER
from listener.storage.access_log import ACCESS_LOG
from listener.storage.locations import (
    ARCHIVE_LOCATIONS,
    CLIP_FOLDERS,
    QUARANTINE,
    SPEAKER_LOCATIONS,
    UNKNOWN_OWNER,
    find_location,
    walk,
)
from listener.storage.over_limit import OVER_LIMIT
from listener.storage.reserve import RESERVE
from listener.storage.wrong_attributions import WRONG_ATTRIBUTIONS

CLIP = "0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"archive/clips/ada/{CLIP}.earmark", "clip"),
        (f"archive/clips/ada/.{CLIP}.earmark.part", "clip"),
        (f"archive/quarantine/ada/{CLIP}.1.earmark", "clip"),
        (f"archive/quarantine/{UNKNOWN_OWNER}/junk", "clip"),
        (f"archive/{INDEX}", "metadata"),
        (f"archive/{INDEX}-wal", "metadata"),
        (ORDERS, "metadata"),
        (f"{ACCESS_LOG}-shm", "metadata"),
        (f"archive/{OVER_LIMIT}", "metadata"),
        (f"archive/{WRONG_ATTRIBUTIONS}", "none"),
        (RESERVE, "none"),
        (f"archive/{RESERVE}", "none"),
        (PIN, "none"),
        (f".{PIN}.part", "none"),
        (record_path(Path(), "archive").as_posix(), "none"),
        (".archive.connection.json.part", "none"),
        ("archive/notes.txt", None),
        (f"archive/clips/{CLIP}.earmark", None),
        (f"archive/quarantine/{CLIP}.earmark", None),
        (f"archive/clips/ada/{CLIP}.flac", None),
    ],
)
def test_archives_files_are_on_the_list(path: str, content: str | None) -> None:
    found = find_location(path, ARCHIVE_LOCATIONS)

    assert (None if found is None else found.content) == content


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"spool/000000000001.ada.{CLIP}.earmark", "clip"),
        (f"spool/000000000001.ada.{CLIP}.earmark.part", "clip"),
        (f"spool/{SPOOL_QUARANTINE}/000000000001.ada.{CLIP}.earmark", "clip"),
        (f"spool/{LEDGER}", "none"),
        (f"spool/{TERMS}", "none"),
        (f"spool/{FOLLOWING}", "none"),
        (f"spool/{SUSPENDED}", "none"),
        (f"spool/{ACCEPTED}", "none"),
        (f"spool/{REPLAYED}", "metadata"),
        (f"spool/.{ACCEPTED}.part", "none"),
        (f"spool/{REPLAYED}.part", "metadata"),
        (PIN, "none"),
        (record_path(Path("send"), "send").as_posix(), "none"),
        ("send/.send.connection.json.part", "none"),
        ("spool/copy.earmark", None),
    ],
)
def test_speakers_files_are_on_the_list(path: str, content: str | None) -> None:
    found = find_location(path, SPEAKER_LOCATIONS)

    assert (None if found is None else found.content) == content


def test_walk_yields_every_file_of_a_folder_or_of_one_owner(tmp_path: Path) -> None:
    for folder in CLIP_FOLDERS:
        for owner in ("ada", "bob", UNKNOWN_OWNER):
            (tmp_path / folder / owner).mkdir(parents=True)
            (tmp_path / folder / owner / "x").touch()
        (tmp_path / folder / "stray").touch()

    assert len(list(walk(tmp_path, QUARANTINE))) == 3
    assert list(walk(tmp_path, QUARANTINE, "bob")) == [tmp_path / QUARANTINE / "bob" / "x"]
    assert list(walk(tmp_path / "missing", QUARANTINE)) == []
    assert list(walk(tmp_path, QUARANTINE, "eve")) == []
