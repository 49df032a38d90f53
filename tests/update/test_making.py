"""Keys and releases, by the verbs of who makes them."""

from pathlib import Path

import pytest

from tests.update.speaker import Speaker, Update, source

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_a_release_is_made_with_the_makers_own_verbs(
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
    assert told == "0.2.0 may be installed over 0.1.0: quieter\n"
    assert key.stat().st_mode & 0o777 == 0o600
    assert update("key", str(key))[0] == 2


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: next(folder.glob("wheels/earmark*")).unlink(), "one wheel of earmark"),
        (lambda folder: [lock.unlink() for lock in folder.glob("lock/*")], "makes no release"),
    ],
)
def test_a_folder_that_makes_no_release_is_said(
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


def test_a_missing_key_is_said(update: Update, tmp_path: Path) -> None:
    folder = source(tmp_path / "source", "0.2.0")

    code, _, err = update("pack", str(folder), "--key", "/nowhere", "--to", str(tmp_path / "r"))

    assert code == 69
    assert "/nowhere" in err
