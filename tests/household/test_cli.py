"""The verb ``household`` as a whole.

Setting up a home, showing and renewing it.
"""

import argparse
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from listener import config
from listener.cli import household
from listener.cli.household import SystemPaths
from listener.config import parse_settings
from listener.household import ca, identity, publish
from listener.household.state import HouseholdStore
from listener.storage.home import Home
from tests.household.guests import contents

Earmark = Callable[..., tuple[int, str, str]]


def test_help_shows_the_whole_procedure(ready: Earmark) -> None:
    code, out, _ = ready("household", "--help")

    assert code == 0
    for step in ("household init", "add-device kitchen", "household join", "reload mosquitto"):
        assert step in out


def test_init_prints_what_it_created_and_is_idempotent(earmark: Earmark, home: Path) -> None:
    code, out, _ = earmark("household", "init", "--host", "home.lan", "--port", "8999")
    before = contents(home)

    again = earmark("household", "init")

    assert code == 0
    assert "authority, s-broker, s-api, s-archive, s-household" in out
    settings = parse_settings(out[out.index("[broker]") :], "what init printed")
    assert (settings.broker.host, settings.broker.port) == ("localhost", 8999)
    assert Path(settings.broker.key_file or "").is_file()
    assert again == (0, "nothing to change\n", "")
    assert contents(home) == before
    assert HouseholdStore(home).registry().hosts == ("home.lan", "localhost", "127.0.0.1")


def test_init_prints_steps_with_which_mosquitto_can_read_its_files(
    earmark: Earmark, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(household, "can_broker_reach", lambda _: False)
    monkeypatch.setattr(household, "has_broker_user", lambda: True)
    _, out, _ = earmark("household", "init")
    assert (
        f"  earmark household --home {home} init --broker-folder /etc/mosquitto/earmark\n"
        "  ln -sf /etc/mosquitto/earmark/earmark.conf /etc/mosquitto/conf.d/\n"
    ) in out

    monkeypatch.setattr(household, "can_broker_reach", lambda _: True)
    folder = home / "elsewhere"
    monkeypatch.setattr(publish, "chown_to_broker", lambda _: None)
    _, out, _ = earmark("household", "init", "--broker-folder", str(folder))
    assert f"  ln -sf {folder}/earmark.conf /etc/mosquitto/conf.d/\n" in out

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _, out, _ = earmark("household", "init", "--broker-folder", str(home / "third"))
    assert f"  mosquitto -c {home}/third/earmark.conf\n" in out


def test_init_without_a_host_uses_the_local_host_names(earmark: Earmark, home: Path) -> None:
    assert earmark("household", "init")[0] == 0

    assert HouseholdStore(home).registry().hosts[-2:] == ("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    "words", [("--host", "a b"), ("--host", "*"), ("--port", "0"), ("--join-port", "65536")]
)
def test_init_refuses_invalid_hosts_and_ports(
    earmark: Earmark, home: Path, words: list[str]
) -> None:
    assert earmark("household", "init", *words)[0] == 2
    assert not (home / "household").exists()


def test_broker_folder_receives_the_files(earmark: Earmark, tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "earmark"

    earmark("household", "init", "--broker-folder", str(folder))

    text = (folder / "earmark.conf").read_text()
    named = re.findall(r"^\w+file (.*)$|^acl_file (.*)$", text, re.MULTILINE)
    assert all(Path(one or other).is_file() for one, other in named)
    assert len(named) == 5


def places(folder: Path) -> SystemPaths:
    return SystemPaths(
        home=folder / "home",
        broker=folder / "etc/mosquitto",
        archive=folder / "etc/earmark/archive",
        settings=folder / "etc/earmark/archive.toml",
    )


def settle(system: SystemPaths, *words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home")
    household.add_arguments(parser)
    arguments = parser.parse_args(["init", "--system", *words])
    return household.set_up(arguments, config.Config(), Home(Path("/nowhere")), system)


@pytest.mark.usefixtures("any_date")
def test_init_system_writes_the_service_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = places(tmp_path)

    assert settle(system, "--host", "home.lan") == 0
    before = contents(tmp_path)
    assert settle(system) == 0

    assert "nothing to change" in capsys.readouterr().out
    assert contents(tmp_path) == before
    written = parse_settings(system.settings.read_text(), "what init wrote")
    assert written.home == str(system.home)
    names = {"ca.crt", "s-archive.crt", "s-archive.key", "s-api.crt", "s-api.key"}
    assert {path.name for path in system.archive.iterdir()} == names
    named = (*msgspec.structs.astuple(written.broker), *msgspec.structs.astuple(written.archive))
    there = [one for one in named if str(one).startswith(str(system.archive))]
    assert {Path(one).name for one in there} == names
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in system.archive.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"s-archive.key", "s-api.key"}
    assert (system.broker / "earmark.conf").is_file()


def test_renewed_certificates_reach_the_archive_folder(tmp_path: Path, earmark: Earmark) -> None:
    system = places(tmp_path)
    settle(system)
    before = contents(system.archive)

    code, _, err = earmark("household", "--home", str(system.home), "renew")

    after = contents(system.archive)
    changed = {Path(path).name for path in after if after[path] != before[path]}
    assert code == 0
    assert changed == {"s-archive.crt", "s-api.crt"}
    assert "systemctl restart earmark-archive" in err


@pytest.mark.usefixtures("any_date")
def test_existing_configuration_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = places(tmp_path)
    system.settings.parent.mkdir(parents=True)
    system.settings.write_text("[archive]\nport = 9444\n")

    settle(system)

    assert system.settings.read_text() == "[archive]\nport = 9444\n"
    out = capsys.readouterr().out
    assert f"add this to {system.settings}:" in out
    assert "s-archive.key" in out


@pytest.mark.parametrize(
    "words", [("add-device", "hall"), ("status",), ("announce",), ("renew",), ("wait",)]
)
def test_without_a_household_the_hint_is_init(earmark: Earmark, words: tuple[str, ...]) -> None:
    code, _, err = earmark("household", *words)

    assert code == 78
    assert "earmark household init" in err


def test_status_lists_members_and_expiry(ready: Earmark, home: Path) -> None:
    ready("household", "add-device", "hall", "--no-wait")

    people = ready("household", "status")
    code, out, _ = ready("household", "status", "--json")
    rows = {row["identity"]: row for row in map(json.loads, out.splitlines())}

    assert (people[0], code) == (0, 0)
    assert "d-hall       invited" in people[1]
    assert rows["d-hall"] == {
        "identity": "d-hall",
        "state": "invited",
        "until": None,
        "days_left": None,
    }
    assert rows["s-broker"]["state"] == "joined"
    assert rows["s-broker"]["days_left"] > 1800
    assert HouseholdStore(home).is_set_up


def test_renew_names_members_that_are_due(
    ready: Earmark, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr(ca, "CERTIFICATE_DAYS", 10)
        for who in (identity.device("hall"), identity.owner("ada")):
            HouseholdStore(home).issue(who, home / "given")

    code, out, _ = ready("household", "status")
    renewed = ready("household", "renew")

    assert code == 1
    assert "d-hall       due" in out
    assert renewed[0] == 0
    assert "d-hall expires in 9 days: earmark household add-device hall" in renewed[1]
    assert "o-ada expires in 9 days: earmark household add-owner ada" in renewed[1]


def test_unreachable_broker_is_reported(ready: Earmark, unused_port: int) -> None:
    ready("household", "init", "--port", str(unused_port))

    code, _, err = ready("household", "announce")

    assert code == 69
    assert "no connection to the broker" in err
