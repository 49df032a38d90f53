"""`earmark assist key` and `earmark household add-service assist`."""

import json
import stat
from pathlib import Path

import pyrage
import pytest
from cryptography import x509

from listener.cli.main import main
from listener.config import parse_settings
from listener.envelope import keys
from listener.household.state import HouseholdStore
from listener.mqtt.credentials import tls_context
from listener.owner.roster import Roster
from listener.storage.home import Home
from tests.conftest import Household


def test_key_is_created_once_for_its_owner_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["assist", "key", "--home", str(home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["assist", "key", "--home", str(home)]) == 0
    said = capsys.readouterr().out

    public = Home(home).assist_key().public_key()
    assert told == {"key": keys.device_text(public), "fingerprint": keys.device_id(public)}
    assert told["key"] in said
    assert told["fingerprint"] in said
    assert stat.S_IMODE((home / "assist.key").stat().st_mode) == 0o600
    assert Home(home).archive_key().public_key() != public


def test_key_that_others_can_read_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Home(home).assist_key()
    (home / "assist.key").chmod(0o644)

    assert main(["assist", "key", "--home", str(home)]) == 78
    assert "can be read by others" in capsys.readouterr().err


def test_missing_token_is_a_configuration_error(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["assist", "--home", str(home)]) == 78
    assert "assist.token_file is not set" in capsys.readouterr().err


@pytest.mark.usefixtures("any_date")
def test_add_service_makes_a_certificate_and_neither_owner_nor_consent(
    household: Household, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = household.home
    public = home.path / "public"
    public.mkdir()
    assert main(["household", "init", "--home", str(home.path), "--host", "home.lan"]) == 0
    before = home.roster()
    capsys.readouterr()
    to = tmp_path / "assist"

    words = ["household", "add-service", "assist", "--home", str(home.path), "--to", str(to)]
    assert main(words) == 0

    text = capsys.readouterr().out.partition("toml:\n")[2].partition("\nwrite a")[0]
    settings = parse_settings(text, "what was printed")
    assert settings.assist.roster_folder == str(public)
    assert settings.broker.host == "localhost"
    assert tls_context(settings.broker) is not None
    certificate = x509.load_pem_x509_certificate((to / "s-assist.crt").read_bytes())
    assert "CN=s-assist" in certificate.subject.rfc4514_string()
    assert home.roster() == before
    assert not (home.path / "assist.key").exists(), "assist makes its key itself"
    acl = HouseholdStore(home.path).published().broker / "acl"
    assert "user s-assist" in acl.read_text()


def test_public_copy_of_the_roster_has_no_challenge_and_follows(household: Household) -> None:
    home = household.home
    public = home.path / "public"
    public.mkdir()
    following = str(pyrage.x25519.Identity.generate().to_public())
    home.change_roster(lambda roster: roster.with_following("ada", following))
    home.change_roster(lambda roster: roster.with_challenge("ada", "answer", 1))

    copied = Home(public).roster()

    assert copied.owner("ada").challenge is None  # type: ignore[union-attr] # ada is there
    assert home.roster().owner("ada").challenge is not None  # type: ignore[union-attr] # as above
    assert copied.device_keys().keys() == home.roster().device_keys().keys()
    assert stat.S_IMODE((public / "roster.json").stat().st_mode) == 0o640
    home.change_roster(lambda _roster: Roster())
    assert Home(public).roster() == Roster()


def test_public_copy_that_is_missing_or_old_is_written(household: Household) -> None:
    home = household.home
    home.publish_roster()
    assert not (home.path / "public").exists()
    (home.path / "public").mkdir()
    (home.path / "public" / "roster.json").write_text("{}")

    home.publish_roster()

    assert Home(home.path / "public").roster().devices == home.roster().devices
