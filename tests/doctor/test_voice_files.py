"""Doctor's check of voice control."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.doctor.voice_files import check_player, check_voice_control, find_file_system
from listener.envelope import keys
from listener.ipc.datagrams import Inbox
from listener.ipc.voice_paths import ANOTHER_ASSIST, NO_ANSWER, PLAYER_SOCKET
from listener.voice.consent_table import ConsentTable, KeptConsent

if TYPE_CHECKING:
    from listener.system.findings import Finding
    from tests.conftest import Household

ASSIST = Ed25519PrivateKey.generate().public_key()
DISK = "20 1 8:1 / / rw - ext4 /dev/sda rw\n"


def allow(household: "Household", on: int = 1) -> None:
    okey = household.home.roster().known_owner("ada").okey
    kept = KeptConsent(assist=keys.device_text(ASSIST), n=1, okey=okey, on=on, owner="ada")
    household.home.change_consents(lambda _table: ConsentTable((kept,)))


def memory(household: "Household") -> str:
    folder = household.home.path / "run" / "voice"
    return f"{DISK}30 20 0:40 / {folder} rw shared:1 - tmpfs tmpfs rw\n"


def check(household: "Household", mounts: str | None = None) -> "Finding":
    mounts = memory(household) if mounts is None else mounts
    return check_voice_control(household.home.path, "ada", mounts)


def test_without_a_consent_it_is_off(household: "Household") -> None:
    assert check(household).verdict == "ok"
    allow(household, on=0)

    finding = check(household)

    assert (finding.verdict, finding.text) == ("ok", "off: no owner of this speaker allows it")


def test_with_a_consent_the_assist_is_named(household: "Household") -> None:
    allow(household)

    finding = check(household)

    assert finding.verdict == "ok"
    assert finding.text == f"on for ada, by the assist {keys.device_id(ASSIST)}"


def test_folder_on_a_disk_is_a_warning(household: "Household") -> None:
    allow(household)

    finding = check(household, DISK)

    assert finding.verdict == "warn"
    assert "is on a disk" in finding.text


def test_another_assist_is_a_failure(household: "Household") -> None:
    allow(household)
    folder = household.home.path / "run" / "voice"
    folder.mkdir(parents=True)
    (folder / ANOTHER_ASSIST).touch()

    finding = check(household)

    assert finding.verdict == "fail"
    assert "another assist answers" in finding.text


def test_wake_without_an_answer_is_reported(household: "Household") -> None:
    allow(household)
    folder = household.home.path / "run" / "voice"
    folder.mkdir(parents=True)
    (folder / NO_ANSWER).touch()

    finding = check(household)

    assert finding.verdict == "warn"
    assert "did not answer the last wake" in finding.text
    assert "earmark doctor --config /etc/earmark/assist.toml" in finding.hint


def test_player_is_looked_for_where_voice_control_is_on(household: "Household") -> None:
    home = household.home.path
    assert check_player(home, "ada") is None
    allow(household)
    folder = home / "run" / "voice"
    folder.mkdir(parents=True)

    missing = check_player(home, "ada")
    inbox = Inbox(folder / PLAYER_SOCKET, 16)
    running = check_player(home, "ada")
    inbox.close()

    assert missing is not None
    assert (missing.verdict, missing.hint) == ("warn", "run earmark play")
    assert running is not None
    assert running.verdict == "ok"


def test_damaged_consents_are_a_failure(household: "Household") -> None:
    (household.home.path / "consent.json").write_bytes(b"{")

    assert check(household).verdict == "fail"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (DISK, "ext4"),
        ("", ""),
        ("nonsense\n20 1 - \n", ""),
        (DISK + "21 20 0:5 / /run rw - tmpfs tmpfs rw\n", "tmpfs"),
        (DISK + "21 20 0:5 / /run rw - tmpfs a rw\n22 21 0:6 / /run rw - ext4 b rw\n", "ext4"),
    ],
)
def test_file_system_of_the_nearest_mount_counts(mounts: str, expected: str) -> None:
    assert find_file_system(Path("/run/earmark-voice/copies"), mounts) == expected
