import stat
import threading
from pathlib import Path

import pytest

from listener.durable import hold_lock, make_folder, write_atomic
from listener.errors import ConfigError, Unavailable


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".roster.json.new").write_bytes(b"half")

    write_atomic(tmp_path / "roster.json", b"whole", 0o640)

    assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]
    assert stat.S_IMODE((tmp_path / "roster.json").stat().st_mode) == 0o640


def test_writing_into_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot use"):
        write_atomic(tmp_path / "missing" / "file", b"")


def test_a_folder_is_for_its_owner_and_is_not_made_twice(tmp_path: Path) -> None:
    make_folder(tmp_path / "one" / "two")
    (tmp_path / "one" / "two" / "file").write_text("kept")
    make_folder(tmp_path / "one" / "two")

    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o700
    assert (tmp_path / "one" / "two" / "file").read_text() == "kept"


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigError, match="everybody can write"):
        make_folder(tmp_path)


def test_a_folder_below_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="cannot use"):
        make_folder(tmp_path / "file" / "home")


def test_of_two_who_want_a_lock_the_second_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []

    def second() -> None:
        with hold_lock(tmp_path / "lock"):
            said.append("second")

    with hold_lock(tmp_path / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.05)
        said.append("first")
    waiting.join()

    assert said == ["first", "second"]
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_lock_is_given_back_by_whoever_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_lock(tmp_path / "lock"):
        raise ZeroDivisionError

    with hold_lock(tmp_path / "lock"):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="lock"), hold_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
