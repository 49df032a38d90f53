import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.clips.schema import RetiredKey
from listener.clips.trust_store import TrustStore
from listener.envelope import keys
from listener.envelope.verify import TrustedKey
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.rights.hash_chain import LogHead
from listener.storage.home import Home

if TYPE_CHECKING:
    from tests.conftest import Household


def key() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


def test_pinned_keys_and_head_persist(tmp_path: Path) -> None:
    archive, hall = key(), key()
    store = TrustStore(tmp_path)

    store.pin_archive(archive)
    store.pin_devices({"hall": hall})
    store.record_head(LogHead(n=3, hash="0" * 64))
    store.record_head(LogHead(n=2, hash="1" * 64))

    again = TrustStore(tmp_path)
    assert again.archive is not None
    assert keys.device_text(again.archive) == archive
    assert {name: keys.device_text(one) for name, one in again.devices().items()} == {"hall": hall}
    assert again.head == LogHead(n=3, hash="0" * 64)
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_different_key_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    store.pin_archive(key())
    store.pin_devices({"hall": key()})
    before = (store.folder / "known.json").read_bytes()

    with pytest.raises(EarmarkError, match="not the archive"):
        store.pin_archive(key())
    with pytest.raises(EarmarkError, match="another key for hall"):
        store.pin_devices({"kitchen": key(), "hall": key()})
    assert (store.folder / "known.json").read_bytes() == before


def retired(name: str, text: str, last_seq: int | None = None) -> RetiredKey:
    return RetiredKey(name=name, key=text, retired=1_800_000_000, last_seq=last_seq)


def test_replaced_key_is_pinned_if_the_old_one_is_reported_as_retired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = key(), key(), key()
    store = TrustStore(tmp_path)
    store.pin_devices({"hall": first})

    store.pin_devices({"hall": second}, [retired("hall", first, 7)])

    assert "the key of hall was replaced" in caplog.text
    again = TrustStore(tmp_path)
    assert {name: keys.device_text(one) for name, one in again.devices().items()} == {
        "hall": second
    }
    assert again.signers()["hall"] == (
        TrustedKey(keys.parse_device(second)),
        TrustedKey(keys.parse_device(first), 7),
    )
    # An export that was made before the replacement.
    again.check_devices({"hall": first})
    for others in ([], [retired("hall", first)], [retired("bath", second)]):
        with pytest.raises(EarmarkError, match="another key for hall"):
            again.pin_devices({"hall": third}, others)


def test_number_of_retired_keys_is_limited(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    many = [retired(f"d-{number}", key()) for number in range(2001)]

    with pytest.raises(EarmarkError, match="more than 2000 keys"):
        store.pin_devices({}, many)

    assert TrustStore(tmp_path).signers() == {}


def test_file_of_an_earlier_version_is_read_and_rewritten_alike(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    store.pin_devices({"hall": key()})

    assert json.loads((store.folder / "known.json").read_bytes()).keys() == {
        *("archive", "devices", "head"),
    }


def test_removed_speakers_of_the_local_roster_are_trusted(household: "Household") -> None:
    household.home.change_roster(lambda roster: roster.without_device("hall", 1_800_000_000))
    store = TrustStore(household.home.path)

    public = household.device_key.public_key()
    assert store.devices() == {}
    assert store.knows_signer("hall", keys.device_id(public))
    assert not store.knows_signer("bath", keys.device_id(public))


def test_local_roster_takes_precedence(household: "Household") -> None:
    store = TrustStore(household.home.path)

    assert store.devices().keys() == {"hall"}
    with pytest.raises(EarmarkError, match="another key for hall"):
        store.pin_devices({"hall": key()})


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 9999, json.dumps({"archive": "x"}).encode(), b'{"more":1}']
)
def test_damaged_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "known.json").write_bytes(data)

    with pytest.raises(ConfigError, match="damaged"):
        TrustStore(tmp_path)


def test_unusable_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "clips").write_bytes(b"")

    with pytest.raises(Unavailable):
        TrustStore(tmp_path)
    (tmp_path / "clips").unlink()
    store = TrustStore(tmp_path)
    (tmp_path / "clips").write_bytes(b"")
    with pytest.raises(Unavailable):
        store.save_receipt("erase", b"{}")


def test_key_from_the_join_line_precedes_first_use(
    tmp_path: Path,
) -> None:
    archive, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    Home(tmp_path).pin_archive(archive.public_key())

    store = TrustStore(tmp_path)

    assert store.archive == archive.public_key()
    assert store.pin_archive(keys.device_text(archive.public_key())) == archive.public_key()
    with pytest.raises(EarmarkError, match="differs from the one in the join line"):
        store.pin_archive(keys.device_text(stranger.public_key()))
    assert not (store.folder / "known.json").exists()


def test_damaged_pin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "archive.pub").write_bytes(b"\xff not a key")

    with pytest.raises(ConfigError, match="damaged"):
        TrustStore(tmp_path)
