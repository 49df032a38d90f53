import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from listener.config import AttributionSettings, Config, SpoolSettings, WakeSettings
from listener.doctor import installation
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.system.findings import Finding


class Household(Protocol):
    home: Home


def found(settings: Config) -> dict[str, Finding]:
    return {finding.check: finding for finding in installation.check_installation(settings)}


def settings_of(home: Path, keeper: str | None = "ada") -> Config:
    return Config(home=str(home), attribution=AttributionSettings(keeper=keeper))


def test_an_empty_home_lacks_a_keeper_alone_and_is_left_empty(home: Path) -> None:
    checks = found(settings_of(home, None))

    assert {name: each.verdict for name, each in checks.items()} == {
        "keeper": "fail",
        "key": "ok",
        "models": "ok",
        "spool": "ok",
    }
    assert "earmark owner add" in checks["keeper"].hint
    assert list(home.iterdir()) == []


def test_a_home_that_is_not_there_yet_is_not_made(home: Path) -> None:
    checks = found(settings_of(home / "later"))

    assert checks["spool"].verdict == "ok"
    assert not (home / "later").exists()


def test_a_household_in_order_is_in_order(household: Household) -> None:
    checks = found(settings_of(household.home.path))

    assert {each.verdict for each in checks.values()} == {"ok"}
    assert "ada" in checks["keeper"].text


def test_a_keeper_whom_nobody_knows_fails(household: Household) -> None:
    assert found(settings_of(household.home.path, "eve"))["keeper"].verdict == "fail"


def test_a_key_that_others_can_read_fails(household: Household) -> None:
    (household.home.path / "device.key").chmod(0o644)

    key = found(settings_of(household.home.path))["key"]

    assert key.verdict == "fail"
    assert "chmod 600" in key.hint


def test_a_word_without_a_model_fails(home: Path) -> None:
    settings = msgspec.structs.replace(settings_of(home), wake=WakeSettings(words=("xyzzy",)))

    assert found(settings)["models"].verdict == "fail"


def test_a_spool_behind_a_file_fails(home: Path) -> None:
    (home / "spool").write_text("in the way")

    assert found(settings_of(home))["spool"].verdict == "fail"


def fill(home: Path, clips: int) -> None:
    spool = Spool(home / "spool", SpoolSettings())
    for seq in range(1, clips + 1):
        spool.put(str(uuid.uuid4()), "ada", seq, b"sealed")


def quarantined(home: Path) -> None:
    fill(home, 1)
    spool = Spool(home / "spool", SpoolSettings())
    entry = spool.oldest()
    assert entry is not None
    spool.quarantine(entry)


@pytest.mark.parametrize(
    ("arrange", "bounds", "hint"),
    [
        (lambda home: fill(home, 3), SpoolSettings(most_clips=4), "more than half full"),
        (quarantined, SpoolSettings(), "earmark send --release"),
        (lambda _: None, SpoolSettings(longest_bytes=1 << 32), ""),
    ],
)
def test_a_spool_that_wants_a_look_says_why(
    home: Path, arrange: Callable[[Path], None], bounds: SpoolSettings, hint: str
) -> None:
    arrange(home)

    spool = found(msgspec.structs.replace(settings_of(home), spool=bounds))["spool"]

    assert spool.verdict == ("warn" if spool.hint else "ok")
    assert hint in spool.hint
