"""The results of `make arm64` belong to the current locks; and its comparison of scores."""

import json
import subprocess

import pytest

from firmware import wheels
from firmware.arm64.__main__ import (
    LEAST_COSINE,
    MOST_DIFFERENCE,
    RESULTS,
    _check,
    difference,
    least_cosine,
)
from firmware.programs import BuildError
from firmware.wheels import PYTHONS, Target


def test_locked_wheels_score_on_cortex_a53_as_on_x86() -> None:
    seen = json.loads(RESULTS.read_text("utf-8"))

    assert seen["processor"] == "cortex-a53"
    assert set(seen["scores"]) == set(PYTHONS)
    for python, scores in seen["scores"].items():
        lock = Target(python, "aarch64").lock
        assert scores["lock_sha256"] == wheels.sha256(lock), "make arm64 tries the new lock"
        assert scores["most_difference"] <= MOST_DIFFERENCE
        assert scores["highest_score"] > 0.9, "a word was heard, so there was something to compare"
        assert scores["steps"] > 100
        assert scores["embedding_cosine"] >= LEAST_COSINE


def test_quiet_room_takes_a_fraction_of_the_instructions() -> None:
    counted = json.loads(RESULTS.read_text("utf-8"))["instructions_per_frame"]

    assert counted["speech"] < 6_000_000
    assert counted["quiet_room"] < counted["speech"] / 5


def test_difference_is_the_maximum_over_all_steps() -> None:
    here = {"a.flac": [{"alexa": 0.0, "timer": 0.5}, {"alexa": 1.0, "timer": 0.0}]}
    there = {"a.flac": [{"alexa": 0.25, "timer": 0.5}, {"alexa": 0.5, "timer": 0.0}]}

    assert difference(here, there) == 0.5


@pytest.mark.parametrize("there", [{}, {"a.flac": []}, {"a.flac": [{"timer": 0.0}]}])
def test_runs_with_other_steps_or_words_are_refused(
    there: dict[str, list[dict[str, float]]],
) -> None:
    with pytest.raises(BuildError, match="other steps or words"):
        difference({"a.flac": [{"alexa": 0.0}]}, there)


def test_least_cosine_is_of_the_file_that_differs_most() -> None:
    here = {"a.flac": [1.0, 0.0], "b.flac": [0.6, 0.8]}
    there = {"a.flac": [1.0, 0.0], "b.flac": [0.8, 0.6]}

    assert least_cosine(here, there) == pytest.approx(0.96)


def test_file_without_an_embedding_is_refused() -> None:
    with pytest.raises(BuildError, match=r"b\.flac has no embedding"):
        least_cosine({"a.flac": [1.0], "b.flac": [1.0]}, {"a.flac": [1.0]})


@pytest.mark.parametrize("code", [132, -4])
def test_illegal_instruction_names_the_processor(code: int) -> None:
    with pytest.raises(BuildError, match="lacks"):
        _check(subprocess.CompletedProcess([], code, "", ""))


def test_other_failure_shows_the_end_of_stderr() -> None:
    with pytest.raises(BuildError, match="139:\nSegmentation"):
        _check(subprocess.CompletedProcess([], 139, "", "Segmentation fault"))
