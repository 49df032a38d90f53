import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.household import ca, identity
from listener.household.registry import Registry
from listener.household.state import HouseholdStore

HALL = identity.device("hall")


class Clock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def settle(before: Registry) -> Registry:
    return msgspec.structs.replace(before, hosts=("localhost", "127.0.0.1"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(home: Path, clock: Clock) -> HouseholdStore:
    made = HouseholdStore(home, clock)
    made.set_up(settle)
    return made


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_repeated_set_up_changes_no_byte(store: HouseholdStore) -> None:
    store.issue(HALL, store.path / "hall")
    before = contents(store.path)

    assert store.set_up(settle) == []
    assert store.publish() == []
    assert contents(store.path) == before


def test_secrets_are_private(store: HouseholdStore, tmp_path: Path) -> None:
    store.issue(HALL, tmp_path / "hall")

    secret = [*store.path.rglob("*.key"), *(tmp_path / "hall").rglob("*.key")]

    # authority, services, copies for the broker and the archive, the device
    assert len(secret) == 1 + 4 + 3 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert stat.S_IMODE((store.path / "register.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name", ["mosquitto/acl", "mosquitto/crl.pem", "mosquitto/earmark.conf", "crl.pem"]
)
def test_missing_or_changed_broker_files_are_restored(store: HouseholdStore, name: str) -> None:
    right = (store.path / name).read_bytes()
    (store.path / name).write_bytes(b"wrong")

    store.set_up(settle)

    if not name.startswith("crl"):
        assert (store.path / name).read_bytes() == right
    found = x509.load_pem_x509_crl((store.path / "mosquitto" / "crl.pem").read_bytes())
    assert found.is_signature_valid(store.authority().key.public_key())


def test_new_host_renews_server_certificates_only(store: HouseholdStore) -> None:
    made = store.set_up(lambda before: msgspec.structs.replace(before, hosts=("home.lan",)))

    assert set(made) == {"s-broker", "s-api", "broker.crt", "s-api.crt"}


def test_expiring_certificate_is_renewed_with_the_same_key(
    store: HouseholdStore, clock: Clock
) -> None:
    _, path = store.service(identity.BROKER)
    key = path.read_bytes()
    clock.at += timedelta(days=ca.CERTIFICATE_DAYS - ca.RENEW_DAYS + 1)

    made = store.set_up(settle)

    assert {"s-broker", "s-api", "s-archive", "s-household"} <= set(made)
    assert path.read_bytes() == key
    assert store.set_up(settle) == []
    assert set(store.set_up(settle, renew=True)) >= {"s-broker", "broker.crt"}


def test_repeated_request_gets_the_same_certificate(store: HouseholdStore) -> None:
    public = ca.new_key().public_key()
    with store.locked():
        first, second = store.sign(HALL, public), store.sign(HALL, public)
        other = store.sign(HALL, ca.new_key().public_key())

    assert first == second
    assert other.serial_number != first.serial_number


def test_revoked_member_is_in_the_crl_and_not_in_the_acl(
    store: HouseholdStore, tmp_path: Path
) -> None:
    store.issue(HALL, tmp_path / "hall")
    rights = store.published().broker / "acl"
    assert "user d-hall" in rights.read_text()

    store.update(lambda before: before.without(HALL, 1_800_000_000))
    changed = store.publish()

    assert changed == ["crl.pem", "acl"]
    assert "d-hall" not in rights.read_text()
    certificate = x509.load_pem_x509_certificate((tmp_path / "hall" / "d-hall.crt").read_bytes())
    listed = x509.load_pem_x509_crl((store.published().broker / "crl.pem").read_bytes())
    assert {each.serial_number for each in listed} == {certificate.serial_number}


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "register.json"])
def test_lost_or_damaged_files_are_reported_not_replaced(store: HouseholdStore, name: str) -> None:
    path = store.path / name
    right = path.read_bytes()

    path.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="damaged"):
        store.set_up(settle)
    path.unlink()
    with pytest.raises(ConfigError, match="missing"):
        store.set_up(settle)

    path.write_bytes(right)
    path.chmod(0o600)
    assert store.set_up(settle) == []


def test_missing_household_is_reported_with_the_command(home: Path) -> None:
    store = HouseholdStore(home)

    assert not store.is_set_up
    for call in (store.registry, store.publish):
        with pytest.raises(ConfigError) as caught:
            call()
        assert "earmark household init" in caught.value.hint


def test_interrupted_set_up_is_completed(home: Path, clock: Clock) -> None:
    store = HouseholdStore(home, clock)
    store.set_up(settle)
    os.truncate(store.path / "lock", 0)
    for service in identity.SERVICES:
        for path in store.service(service):
            path.unlink(missing_ok=True)
    (store.path / "register.json").unlink()

    made = store.set_up(settle)

    assert made[0] == "s-broker"
    assert "authority" not in made


def test_unset_clock_signs_nothing(home: Path, clock: Clock) -> None:
    clock.at = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    store = HouseholdStore(home, clock)

    with pytest.raises(Unavailable, match="clock is at 1970-01-01"):
        store.set_up(settle)

    clock.at = datetime(2026, 11, 22, tzinfo=UTC)
    assert "authority" in store.set_up(settle)


def test_failing_edit_changes_nothing(store: HouseholdStore) -> None:
    before = contents(store.path)

    with pytest.raises(EarmarkError):
        store.update(lambda before: before.without(HALL, 1))

    assert contents(store.path) == before


def test_speaker_that_has_joined_is_sent_to_the_archives_computer(home: Path) -> None:
    (home / "archive.pub").write_text("x")

    for use in (HouseholdStore(home).registry, HouseholdStore(home).locked().__enter__):
        with pytest.raises(ConfigError, match="has joined a household") as caught:
            use()
        assert "broker.host" in caught.value.hint
