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
    """A wall clock under the test's thumb."""

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
def office(home: Path, clock: Clock) -> HouseholdStore:
    made = HouseholdStore(home, clock)
    made.set_up(settle)
    return made


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_done_again_nothing_that_is_right_changes_to_the_byte(office: HouseholdStore) -> None:
    office.issue(HALL, office.path / "hall")
    before = contents(office.path)

    assert office.set_up(settle) == []
    assert office.publish() == []
    assert contents(office.path) == before


def test_no_secret_can_be_read_by_others(office: HouseholdStore, tmp_path: Path) -> None:
    office.issue(HALL, tmp_path / "hall")

    secret = [*office.path.rglob("*.key"), *(tmp_path / "hall").rglob("*.key")]

    # authority, services, copies for the broker and the archive, the device
    assert len(secret) == 1 + 4 + 3 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert stat.S_IMODE((office.path / "register.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name", ["mosquitto/acl", "mosquitto/crl.pem", "mosquitto/earmark.conf", "crl.pem"]
)
def test_what_is_missing_or_wrong_among_the_broker_s_files_is_mended(
    office: HouseholdStore, name: str
) -> None:
    right = (office.path / name).read_bytes()
    (office.path / name).write_bytes(b"wrong")

    office.set_up(settle)

    if not name.startswith("crl"):
        assert (office.path / name).read_bytes() == right
    found = x509.load_pem_x509_crl((office.path / "mosquitto" / "crl.pem").read_bytes())
    assert found.is_signature_valid(office.authority().key.public_key())


def test_a_new_address_makes_new_certificates_for_servers_alone(office: HouseholdStore) -> None:
    made = office.set_up(lambda register: msgspec.structs.replace(register, hosts=("home.lan",)))

    assert set(made) == {"s-broker", "s-api", "broker.crt", "s-api.crt"}


def test_a_certificate_that_ends_soon_is_made_anew_with_the_same_key(
    office: HouseholdStore, clock: Clock
) -> None:
    _, path = office.service(identity.BROKER)
    key = path.read_bytes()
    clock.at += timedelta(days=ca.CERTIFICATE_DAYS - ca.RENEW_DAYS + 1)

    made = office.set_up(settle)

    assert {"s-broker", "s-api", "s-archive", "s-household"} <= set(made)
    assert path.read_bytes() == key
    assert office.set_up(settle) == []
    assert set(office.set_up(settle, renew=True)) >= {"s-broker", "broker.crt"}


def test_a_guest_s_key_gets_one_certificate_however_often_it_asks(office: HouseholdStore) -> None:
    public = ca.new_key().public_key()
    with office.locked():
        first, second = office.sign(HALL, public), office.sign(HALL, public)
        other = office.sign(HALL, ca.new_key().public_key())

    assert first == second
    assert other.serial_number != first.serial_number


def test_the_revoked_is_in_the_list_and_out_of_the_rights(
    office: HouseholdStore, tmp_path: Path
) -> None:
    office.issue(HALL, tmp_path / "hall")
    rights = office.published().broker / "acl"
    assert "user d-hall" in rights.read_text()

    office.update(lambda register: register.without(HALL, 1_800_000_000))
    changed = office.publish()

    assert changed == ["crl.pem", "acl"]
    assert "d-hall" not in rights.read_text()
    certificate = x509.load_pem_x509_certificate((tmp_path / "hall" / "d-hall.crt").read_bytes())
    listed = x509.load_pem_x509_crl((office.published().broker / "crl.pem").read_bytes())
    assert {one.serial_number for one in listed} == {certificate.serial_number}


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "register.json"])
def test_what_is_lost_or_damaged_is_never_made_anew_in_silence(
    office: HouseholdStore, name: str
) -> None:
    path = office.path / name
    right = path.read_bytes()

    path.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="damaged"):
        office.set_up(settle)
    path.unlink()
    with pytest.raises(ConfigError, match="missing"):
        office.set_up(settle)

    path.write_bytes(right)
    path.chmod(0o600)
    assert office.set_up(settle) == []


def test_without_a_household_the_way_is_shown(home: Path) -> None:
    office = HouseholdStore(home)

    assert not office.is_set_up
    for ask in (office.registry, office.publish):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert "earmark household init" in caught.value.hint


def test_a_start_that_was_cut_off_is_finished(home: Path, clock: Clock) -> None:
    office = HouseholdStore(home, clock)
    office.set_up(settle)
    os.truncate(office.path / "lock", 0)
    for service in identity.SERVICES:
        for path in office.service(service):
            path.unlink(missing_ok=True)
    (office.path / "register.json").unlink()

    made = office.set_up(settle)

    assert made[0] == "s-broker"
    assert "authority" not in made


def test_a_clock_that_was_never_set_signs_nothing(home: Path, clock: Clock) -> None:
    clock.at = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    office = HouseholdStore(home, clock)

    with pytest.raises(Unavailable, match="clock says 1970-01-01"):
        office.set_up(settle)

    clock.at = datetime(2026, 11, 22, tzinfo=UTC)
    assert "authority" in office.set_up(settle)


def test_failed_roster_edit_changes_nothing(office: HouseholdStore) -> None:
    before = contents(office.path)

    with pytest.raises(EarmarkError):
        office.update(lambda register: register.without(HALL, 1))

    assert contents(office.path) == before
