"""The verb as a process: killed at random moments, and started again."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from listener.firstboot.partition import CHALLENGE, NAME, RESULT, TAKEN
from tests.firstboot.cards import Card

pytestmark = pytest.mark.system


@pytest.fixture
def card(tmp_path: Path) -> Card:
    made = Card(tmp_path)
    (made.folder / "etc").mkdir()
    return made


def first_boot(card: Card) -> "subprocess.Popen[str]":
    words = ["--boot", str(card.boot), "--settings", str(card.settings_file)]
    return subprocess.Popen(
        [sys.executable, "-m", "listener", "first-boot", *words, "--home", str(card.home.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_report_is_printed(card: Card) -> None:
    card.write(card.keys)

    process = first_boot(card)
    said, _ = process.communicate()
    again = first_boot(card)
    nothing, _ = again.communicate()

    assert process.returncode == again.returncode == 0
    assert said == card.result
    assert "nothing to apply on" in nothing


def test_without_a_boot_partition_it_is_unavailable(card: Card) -> None:
    process = first_boot(card)
    said, _ = process.communicate()

    assert process.returncode == 69
    assert "earmark: error: cannot use the boot partition" in said


@pytest.mark.timeout(300)
def test_killed_at_any_moment_the_next_start_finishes(card: Card) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    text = f'{card.keys}[device]\nname = "kitchen"\n[clip]\nkeep_days = 7\n'
    card.write(text)
    began_s = time.monotonic()
    first_boot(card).communicate()
    whole_s = time.monotonic() - began_s
    device_key = card.home.device_key().public_key()
    challenge = (card.boot / CHALLENGE).read_bytes()

    for turn in range(8):
        keep_days = 10 + turn
        card.write(text.replace("= 7", f"= {keep_days}"))
        for _ in range(3):
            process = first_boot(card)
            # Most of the time Python only starts: what matters happens in the second half.
            time.sleep(dice.uniform(0.5, 1.0) * whole_s)
            process.kill()
            process.communicate()
            if card.settings_file.exists():
                assert card.settings.clip.keep_days in {7, keep_days, keep_days - 1}, seed
        process = first_boot(card)
        said, _ = process.communicate()

        assert process.returncode == 0, (seed, said)
        assert card.settings.clip.keep_days == keep_days, seed
        assert {path.name for path in card.boot.iterdir()} <= {RESULT, CHALLENGE}, seed
        assert not (card.boot / NAME).exists(), seed
        assert not (card.boot / TAKEN).exists(), seed
        assert (card.boot / CHALLENGE).read_bytes() == challenge, seed
        assert card.home.device_key().public_key() == device_key, seed
    assert "keep_days" in card.result
    card.write(card.answer())
    first_boot(card).communicate()
    assert card.home.keeper("ada") == "ada"
