from pathlib import Path

import pytest

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.storage.owner_files import read_identities, write_new


def test_new_file_has_mode_0600_and_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "new" / "clip.flac"

    write_new(target, b"sound")
    write_new(target, b"sound")

    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(EarmarkError, match="exists with other content"):
        write_new(target, b"other")
    assert target.read_bytes() == b"sound"


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "clip.flac").symlink_to(elsewhere)

    with pytest.raises(EarmarkError, match="exists with other content"):
        write_new(tmp_path / "clip.flac", b"sound")
    assert not elsewhere.exists()


def test_unusable_paths_raise_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(Unavailable, match="cannot write"):
        write_new(tmp_path / "file" / "clip.flac", b"sound")
    with pytest.raises(ConfigError, match="cannot read the identity"):
        read_identities(tmp_path / "nowhere")
