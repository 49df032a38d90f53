"""Folders are walked in one order, and read within bounds."""

import os
from pathlib import Path

import pytest

from listener.errors import Unavailable, UsageError
from listener.evaluate.corpus import folders


def touch_sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nobody listens to it here")
    return path


def test_noises_are_a_file_or_all_in_a_folder(tmp_path: Path) -> None:
    first, second = touch_sound(tmp_path / "a.wav"), touch_sound(tmp_path / "b" / "c.wav")

    assert folders.sounds_in(tmp_path) == (first, second)
    assert folders.sounds_in(first) == (first,)


def test_a_folder_without_a_sound_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound", "utf-8")

    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="there is no sound file"):
            folders.sounds_in(path)


def test_a_walk_goes_by_name_and_takes_what_ends_so_in_any_case(tmp_path: Path) -> None:
    for name in ("b/2.WAV", "b/1.wav", "a/3.wav", "0.wav", "a/wav"):
        touch_sound(tmp_path / name)

    found = [path.relative_to(tmp_path).as_posix() for path in folders.walk(tmp_path, (".wav",))]

    assert found == ["0.wav", "a/3.wav", "b/1.wav", "b/2.WAV"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*none: No such file"):
        list(folders.walk(tmp_path / "none", (".wav",)))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*none"):
        folders.bytes_of(tmp_path / "none")


def test_a_table_that_is_no_utf_8_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.trans.txt").write_bytes(b"84-1 CAF\xc9")

    assert folders.text_of(tmp_path / "a.trans.txt") == "84-1 CAF\ufffd"


def test_a_name_that_is_no_utf_8_can_be_printed() -> None:
    assert folders.printable(os.fsdecode(b"caf\xc9.wav")) == "caf\ufffd.wav"
