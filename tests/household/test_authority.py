import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listener.errors import ConfigError
from listener.household import authority, certificates

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority.create_authority(tmp_path, NOW)
    return tmp_path


def test_what_is_made_is_read_and_its_key_is_for_nobody_else(folder: Path) -> None:
    first, second = authority.read_authority(folder), authority.read_authority(folder)

    assert first.certificate == second.certificate
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "ca.key").chmod(0o640)

    with pytest.raises(ConfigError, match="can be read by others"):
        authority.read_authority(folder)


def test_the_key_of_another_authority_is_refused(folder: Path) -> None:
    other = certificates.new_authority(NOW)
    (folder / "ca.key").write_bytes(certificates.key_pem(other.key))

    with pytest.raises(ConfigError, match="is not the key of"):
        authority.read_authority(folder)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_what_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ConfigError, match=f"{name} is missing"):
        authority.read_authority(folder)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_what_is_damaged_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"damaged")
    (folder / name).chmod(0o600)

    with pytest.raises(ConfigError):
        authority.read_authority(folder)
