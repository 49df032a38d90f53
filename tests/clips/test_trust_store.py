import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.clips.trust_store import TrustStore
from listener.envelope import keys
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.rights.hash_chain import LogHead
from listener.storage.home import Home

if TYPE_CHECKING:
    from tests.conftest import Household


def key() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


def test_what_was_seen_is_known_the_next_time(tmp_path: Path) -> None:
    archive, hall = key(), key()
    known = TrustStore(tmp_path)

    known.pin_archive(archive)
    known.pin_devices({"hall": hall})
    known.record_head(LogHead(n=3, hash="0" * 64))
    known.record_head(LogHead(n=2, hash="1" * 64))

    again = TrustStore(tmp_path)
    assert again.archive is not None
    assert keys.device_text(again.archive) == archive
    assert {name: keys.device_text(one) for name, one in again.devices().items()} == {"hall": hall}
    assert again.head == LogHead(n=3, hash="0" * 64)
    assert known.folder.stat().st_mode & 0o777 == 0o700


def test_another_key_for_the_same_name_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    known = TrustStore(tmp_path)
    known.pin_archive(key())
    known.pin_devices({"hall": key()})
    before = (known.folder / "known.json").read_bytes()

    with pytest.raises(EarmarkError, match="not the archive"):
        known.pin_archive(key())
    with pytest.raises(EarmarkError, match="another key for hall"):
        known.pin_devices({"kitchen": key(), "hall": key()})
    assert (known.folder / "known.json").read_bytes() == before


def test_the_roster_of_this_machine_is_believed_first(household: "Household") -> None:
    known = TrustStore(household.home.path)

    assert known.devices().keys() == {"hall"}
    with pytest.raises(EarmarkError, match="another key for hall"):
        known.pin_devices({"hall": key()})


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 9999, json.dumps({"archive": "x"}).encode(), b'{"more":1}']
)
def test_a_damaged_file_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "known.json").write_bytes(data)

    with pytest.raises(ConfigError, match="damaged"):
        TrustStore(tmp_path)


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "clips").write_bytes(b"")

    with pytest.raises(Unavailable):
        TrustStore(tmp_path)
    (tmp_path / "clips").unlink()
    known = TrustStore(tmp_path)
    (tmp_path / "clips").write_bytes(b"")
    with pytest.raises(Unavailable):
        known.save_receipt("erase", b"{}")


def test_the_key_that_the_join_line_named_is_believed_before_any_first_meeting(
    tmp_path: Path,
) -> None:
    archive, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    Home(tmp_path).pin_archive(archive.public_key())

    known = TrustStore(tmp_path)

    assert known.archive == archive.public_key()
    assert known.pin_archive(keys.device_text(archive.public_key())) == archive.public_key()
    with pytest.raises(EarmarkError, match="another one than the line named"):
        known.pin_archive(keys.device_text(stranger.public_key()))
    assert not (known.folder / "known.json").exists()


def test_a_pin_that_is_damaged_is_said(tmp_path: Path) -> None:
    (tmp_path / "archive.pub").write_bytes(b"\xff no key")

    with pytest.raises(ConfigError, match="damaged"):
        TrustStore(tmp_path)
