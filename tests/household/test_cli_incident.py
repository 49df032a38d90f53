"""Files that went astray, and what is said of them."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.cli import main
from listener.storage.access_log import ACCESS_LOG, AccessLog

if TYPE_CHECKING:
    from tests.conftest import Household


@pytest.fixture
def strays(household: "Household", tmp_path: Path) -> Path:
    folder = tmp_path / "astray"
    folder.mkdir()
    for seq, owner in enumerate(("ada", "ada", "bob"), 1):
        header = household.header(seq, owner)
        (folder / f"{header.clip}.earmark").write_bytes(household.seal(header))
    return folder


def incident(home: Path, *words: str) -> int:
    return main.main(["household", "incident", *words, "--home", str(home)])


def rows(home: Path, owner: str) -> list[dict[str, object]]:
    with closing(AccessLog(home / ACCESS_LOG, time.time)) as log:
        return [row["body"] for row in log.page(owner, 0, 99) if "body" in row]


def test_each_owner_gets_a_notice_and_a_row(
    home: Path, household: "Household", strays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert incident(home, str(strays)) == 0

    said = capsys.readouterr().out
    assert "notice to ada:\n  Files with 2 of your clips" in said
    assert "notice to bob:\n  Files with 1 of your clips" in said
    assert "cannot be decrypted without your secret key" in said
    assert household.header(9).okey in said
    (row,) = rows(home, "ada")
    assert (row["op"], row["count"], row["outcome"]) == ("incident", 2, "done")
    assert len(rows(home, "bob")) == 1


def test_clips_in_the_spool_of_a_removed_speaker_are_reported(
    home: Path, household: "Household", strays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    household.home.change_roster(
        lambda roster: roster.without_device("hall", 0).with_last_seqs(lambda _: 1)
    )

    assert incident(home, str(strays)) == 0

    assert "Files with 2 of your clips" in capsys.readouterr().out


def test_file_that_is_not_a_clip_is_reported(
    home: Path, household: "Household", strays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del household
    (strays / "x.earmark").write_bytes(b"hello")

    assert incident(home, str(strays), "--json") == 1

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one.get("opens_for", "nobody") for one in told) == ["ada", "ada", "bob", "nobody"]


def test_unreadable_folder_is_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert incident(home, "/nowhere") == 69

    assert "cannot read /nowhere" in capsys.readouterr().err
    assert not (home / ACCESS_LOG).exists()
