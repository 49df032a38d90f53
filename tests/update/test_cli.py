"""Keys and releases, by the verbs of who makes them."""

import json
from pathlib import Path

import pytest

from listener.cli import main
from listener.release.state import UpdateState
from listener.update.versions import Versions
from tests.update.speaker import Speaker, Update, source

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_release_of_an_unknown_key_is_refused(speaker: Speaker, update: Update) -> None:
    speaker.settings.write_text(f'[update]\nfolder = "{speaker.folder}"\n')

    code, out, err = update("install", str(speaker.release("0.2.0")))

    assert (code, out) == (78, "")
    assert "no release key is pinned" in err
    assert speaker.versions == {"0.1.0"}


def test_a_damaged_release_is_refused_with_one_error(
    speaker: Speaker, update: Update, tmp_path: Path
) -> None:
    data = bytearray(speaker.release("0.2.0").read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged").write_bytes(data)

    code, out, err = update("install", str(tmp_path / "damaged"))

    assert (code, out) == (1, "")
    assert "damaged" in err
    assert len(err.splitlines()) == 2
    assert speaker.versions == {"0.1.0"}


def test_status_as_text_and_json(speaker: Speaker, update: Update) -> None:
    versions = Versions(speaker.folder)
    noted = UpdateState().begin("0.2.0", "0.1.0", "").advance("trial")

    assert update("status")[1] == "0.1.0 is installed\n"
    versions.write(noted)
    assert update("status")[1] == "0.1.0 is installed; 0.2.0 is being installed (trial)\n"
    versions.write(noted.roll_back("hear did not score"))
    assert "0.2.0 was rolled back: hear did not score" in update("status")[1]
    assert json.loads(update("status", "--json")[1])["failed"] == {
        "version": "0.2.0",
        "reason": "hear did not score",
    }
    versions.write(noted.confirm("0.2.0"))
    assert "0.1.0 is kept for a rollback" in update("status")[1]


@pytest.mark.parametrize("wait", ["0", "x", "4000"])
def test_invalid_wait_is_a_usage_error(wait: str) -> None:
    assert main.main(["update", "install", "a.release", "--wait", wait]) == 2


def test_missing_installation_gives_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.main(["update", "status", "--folder", str(tmp_path)])

    assert code == 78
    assert "install the Debian package earmark" in capsys.readouterr().err


def test_release_is_made_with_key_and_pack(
    speaker: Speaker, update: Update, tmp_path: Path
) -> None:
    key, file = tmp_path / "release.key", tmp_path / "a.release"
    _, public, _ = update("key", str(key))
    speaker.settings.write_text(
        f'[update]\nfolder = "{speaker.folder}"\nkeys = ["{public.strip()}"]\n'
    )
    folder = source(tmp_path / "source", "0.2.0")

    packed, said, _ = update(
        *("pack", str(folder), "--key", str(key), "--to", str(file), "--summary", "quieter")
    )
    checked, told, _ = update("check", str(file))

    assert (packed, checked) == (0, 0)
    assert "0.2.0" in said
    assert told == "0.2.0 can be installed over 0.1.0: quieter\n"
    assert key.stat().st_mode & 0o777 == 0o600
    assert update("key", str(key))[0] == 2
    again = update("pack", str(folder), "--key", str(key), "--to", str(file), "--json")[1]
    row = json.loads(again)
    assert (row["file"], row["version"], row["bytes"] > 0) == (str(file), "0.2.0", True)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: next(folder.glob("wheels/earmark*")).unlink(), "wheels of earmark"),
        (lambda folder: [lock.unlink() for lock in folder.glob("lock/*")], "cannot make a release"),
    ],
)
def test_folder_without_a_release_is_refused(
    spoil: object, why: str, update: Update, tmp_path: Path
) -> None:
    folder = source(tmp_path / "source", "0.2.0")
    update("key", str(tmp_path / "key"))
    assert callable(spoil)
    spoil(folder)

    code, _, err = update(
        *("pack", str(folder), "--key", str(tmp_path / "key"), "--to", str(tmp_path / "r"))
    )

    assert code == 2
    assert why in err


def test_missing_key_is_reported(update: Update, tmp_path: Path) -> None:
    folder = source(tmp_path / "source", "0.2.0")

    code, _, err = update("pack", str(folder), "--key", "/nowhere", "--to", str(tmp_path / "r"))

    assert code == 69
    assert "/nowhere" in err
