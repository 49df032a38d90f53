"""What `make arm64` saw is about today's locks; and how it judges."""

import json
import subprocess

import pytest

from firmware import wheels
from firmware.arm64.__main__ import MOST_DIFFERENCE, RESULTS, _judge, difference
from firmware.programs import BuildError
from firmware.wheels import PYTHONS, Target


def test_the_wheels_of_todays_locks_scored_as_here_on_a_cortex_a53() -> None:
    seen = json.loads(RESULTS.read_text("utf-8"))

    assert seen["processor"] == "cortex-a53"
    assert set(seen["scores"]) == set(PYTHONS)
    for python, scores in seen["scores"].items():
        lock = Target(python, "aarch64").lock
        assert scores["lock_sha256"] == wheels.sha256(lock), "make arm64 tries the new lock"
        assert scores["most_difference"] <= MOST_DIFFERENCE
        assert scores["highest_score"] > 0.9, "a word was heard, so there was something to compare"
        assert scores["steps"] > 100


def test_a_quiet_room_costs_a_fraction_of_the_instructions() -> None:
    counted = json.loads(RESULTS.read_text("utf-8"))["instructions_per_frame"]

    assert counted["speech"] < 6_000_000
    assert counted["quiet_room"] < counted["speech"] / 5


def test_the_greatest_difference_is_found() -> None:
    here = {"a.flac": [{"alexa": 0.0, "timer": 0.5}, {"alexa": 1.0, "timer": 0.0}]}
    there = {"a.flac": [{"alexa": 0.25, "timer": 0.5}, {"alexa": 0.5, "timer": 0.0}]}

    assert difference(here, there) == 0.5


@pytest.mark.parametrize("there", [{}, {"a.flac": []}, {"a.flac": [{"timer": 0.0}]}])
def test_other_steps_or_words_are_no_match(there: dict[str, list[dict[str, float]]]) -> None:
    with pytest.raises(BuildError, match="other steps or words"):
        difference({"a.flac": [{"alexa": 0.0}]}, there)


@pytest.mark.parametrize("code", [132, -4])
def test_an_instruction_that_the_board_lacks_is_named(code: int) -> None:
    with pytest.raises(BuildError, match="lacks"):
        _judge(subprocess.CompletedProcess([], code, "", ""))


def test_another_death_shows_what_was_said() -> None:
    with pytest.raises(BuildError, match="139:\nSegmentation"):
        _judge(subprocess.CompletedProcess([], 139, "", "Segmentation fault"))
