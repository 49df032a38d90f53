"""Programs that a build runs: there or not, well or not."""

import sys

import pytest

from firmware.programs import BuildError, must, run


def test_a_program_gets_what_it_is_given_and_says_how_it_ended() -> None:
    script = "import os, sys; print(sys.stdin.read() + os.environ['WORD']); sys.exit(3)"

    done = run([sys.executable, "-c", script], environ={"WORD": "b"}, given="a")

    assert (done.returncode, done.stdout) == (3, "ab\n")


def test_what_must_end_well_and_does_not_is_an_error_with_its_last_words() -> None:
    with pytest.raises(BuildError, match="no such day") as caught:
        must([sys.executable, "-c", "raise SystemExit('no such day')"], "try another")

    assert caught.value.hint == "try another"


def test_what_ends_well_gives_what_it_printed() -> None:
    assert must([sys.executable, "-c", "print('done')"]) == "done\n"


def test_a_program_that_is_not_here_is_an_error_with_the_way_to_it() -> None:
    with pytest.raises(BuildError, match="absent-program is not here") as caught:
        run(["absent-program"], "apt-get install it")

    assert caught.value.hint == "apt-get install it"
