from pathlib import Path

import pytest

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.release.state import UpdateState
from listener.update.versions import Versions


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    for version in ("0.1.0", "0.2.0"):
        (tmp_path / version).mkdir()
    (tmp_path / "current").symlink_to("0.1.0")
    return Versions(tmp_path)


def test_current_is_switched_atomically(versions: Versions) -> None:
    versions.switch_to("0.2.0")

    assert versions.current() == "0.2.0"
    assert {path.name for path in versions.folder.iterdir()} == {"0.1.0", "0.2.0", "current"}


@pytest.mark.parametrize("target", ["/etc", "0.1", None])
def test_current_must_point_to_a_version(versions: Versions, target: str | None) -> None:
    (versions.folder / "current").unlink()
    if target is not None:
        (versions.folder / "current").symlink_to(target)

    with pytest.raises(ConfigError, match="does not point to a version"):
        versions.current()


def test_leftover_link_of_a_killed_writer_is_replaced(versions: Versions) -> None:
    (versions.folder / ".current.new").symlink_to("nowhere")

    versions.switch_to("0.2.0")

    assert versions.current() == "0.2.0"


def test_current_version_is_never_removed(versions: Versions) -> None:
    versions.remove("0.1.0")
    versions.remove("0.2.0")
    versions.remove("../elsewhere")

    assert (versions.folder / "0.1.0").is_dir()
    assert not (versions.folder / "0.2.0").exists()


def test_only_versions_of_updates_are_pruned(versions: Versions) -> None:
    for version in ("0.3.0", "0.4.0"):
        (versions.folder / version).mkdir()
        (versions.folder / version / ".release").touch()

    versions.prune({"0.4.0"})

    assert {path.name for path in versions.folder.iterdir() if path.name[0] == "0"} == {
        "0.1.0",
        "0.2.0",
        "0.4.0",
    }


def test_state_is_kept_and_damage_is_reported(versions: Versions) -> None:
    noted = versions.write(UpdateState(highest="0.2.0"))

    assert versions.read() == noted
    (versions.folder / "update.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        versions.read()


def test_lock_excludes_another_update(versions: Versions) -> None:
    with versions.lock(), pytest.raises(EarmarkError, match="another"), versions.lock():
        pass


def test_missing_folder_is_unavailable(tmp_path: Path) -> None:
    nowhere = Versions(tmp_path / "nowhere")

    with pytest.raises(Unavailable, match="cannot use"), nowhere.lock():
        pass
    with pytest.raises(Unavailable):
        nowhere.switch_to("0.1.0")
