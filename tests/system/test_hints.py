"""Hints that name the cause, on a new machine and at the wrong port, and commands that exist."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.cli.main import COMMANDS
from listener.config import Config, SpoolSettings
from listener.doctor.installation import check_installation
from listener.household.state import HouseholdStore
from listener.spool.queue import Spool
from listener.storage.home import Home

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]


def hint_of(told: "subprocess.CompletedProcess[str]") -> str:
    """Return the hint of a failed command, whose commands exist."""
    (hint,) = re.findall(r"^earmark: hint: (.*)$", told.stderr, re.MULTILINE)
    assert set(re.findall(r"\bearmark ([a-z][a-z-]*)", hint)) <= COMMANDS.keys()
    return str(hint)


def test_monitor_without_hear_says_what_starts_it(earmark: "Earmark") -> None:
    once = earmark.run("monitor", "--once")

    assert once.returncode == 69
    assert "error: hear is not running at" in once.stderr
    assert "start it with earmark hear" in hint_of(once)


def test_waiting_monitor_without_hear_says_what_starts_it(
    earmark: "Earmark", wait_until: Wait
) -> None:
    earmark.start("monitor")

    wait_until(lambda: "start it with earmark hear" in earmark.said("monitor"), "a hint")

    assert earmark.said("monitor").count("start it with earmark hear") == 1


def test_hear_without_a_key_names_the_ways_without_one(earmark: "Earmark") -> None:
    told = earmark.run("hear", "--microphone", "talk.flac")

    assert told.returncode == 78
    assert "no keeper is configured" in told.stderr
    for command in ("earmark owner add", "earmark monitor --listen", "earmark survey"):
        assert command in hint_of(told)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts, answers a byte that is not HTTP, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"\x20\x02\x00\x05")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def create_hub(tmp_path: Path, port: int) -> HouseholdStore:
    (tmp_path / "hub").mkdir()
    store = HouseholdStore(tmp_path / "hub")
    store.set_up(
        lambda registry: msgspec.structs.replace(registry, hosts=("localhost",), port=port)
    )
    return store


def clips_at(earmark: "Earmark", tmp_path: Path, address: str, ca: Path | None) -> str:
    """Return the hint of ``earmark clips list`` at an address that is no archive's."""
    key = tmp_path / "ada.key"
    key.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    words = ("--owner", "ada", "--identity", str(key), "--archive", address)
    told = earmark.run("clips", "list", *words, *(() if ca is None else ("--ca", str(ca))))
    assert told.returncode == 69, told.stderr
    return hint_of(told)


def test_clips_at_the_households_broker_names_the_right_port(
    mosquitto: "Mosquitto", earmark: "Earmark", tmp_path: Path, free_port: int
) -> None:
    store = create_hub(tmp_path, free_port)
    mosquitto.start_with(store.published().broker)

    hint = clips_at(earmark, tmp_path, f"https://localhost:{free_port}", store.path / "ca.crt")

    assert "archive.port of the archive, and not the broker's" in hint


def test_clips_at_a_broker_without_tls_names_the_right_port(
    mosquitto: "Mosquitto", earmark: "Earmark", tmp_path: Path, free_port: int
) -> None:
    store = create_hub(tmp_path, free_port)
    mosquitto.start()

    hint = clips_at(earmark, tmp_path, f"https://localhost:{free_port}", store.path / "ca.crt")

    assert "archive.port" in hint


def test_clips_at_a_server_that_is_not_http_names_the_right_port(
    earmark: "Earmark", tmp_path: Path, silent_port: int
) -> None:
    store = create_hub(tmp_path, silent_port)

    hint = clips_at(earmark, tmp_path, f"https://localhost:{silent_port}", store.path / "ca.crt")

    assert "archive.port" in hint


def test_owner_unknown_at_the_archive_is_named_with_what_to_do(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    home: Path,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    mosquitto.start()
    household.home.change_roster(lambda roster: roster.without_owner("bob"))
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive is up")
    header = household.header(household.home.next_seq(), "bob")
    spool = Spool(home / "spool", SpoolSettings())
    spool.put(header.clip, "bob", header.seq, household.seal(header))

    told = earmark.run("send", "--once", "--patience", "3")
    checked = check_installation(Config(home=str(home)))
    findings = {each.check: each for each in checked}
    key = tmp_path / "bob.key"
    key.write_text(f"{household.identities['bob']}\n")
    listed = earmark.run("clips", "list", "--owner", "bob", "--identity", str(key))

    assert told.returncode == 69
    assert "the archive knows no active owner of this name and key" in told.stderr
    assert "earmark owner list" in hint_of(told)
    assert "the archive knows no active owner" in findings["spool"].text
    assert "earmark owner list" in findings["spool"].hint
    assert listed.returncode == 1
    assert "there is no active owner of this name" in listed.stderr
    assert "check --owner" in hint_of(listed)


def test_missing_identity_is_not_answered_by_making_a_new_key(
    earmark: "Earmark", tmp_path: Path
) -> None:
    words = ("--owner", "ada", "--identity", str(tmp_path / "lost.key"))

    told = earmark.run("clips", "list", *words)

    assert told.returncode == 78
    assert "lost.key" in told.stderr
    assert "age-keygen" not in told.stderr
    assert "only this key opens the owner's clips" in hint_of(told)


@pytest.mark.parametrize("action", ["status", "announce"])
def test_household_on_a_speaker_that_has_joined_names_the_other_computer(
    earmark: "Earmark", home: Path, action: str
) -> None:
    Home(home).pin_archive(Ed25519PrivateKey.generate().public_key())

    told = earmark.run("household", action)

    assert told.returncode == 78
    assert "has joined a household that another computer keeps" in told.stderr
    assert "init" not in hint_of(told)
