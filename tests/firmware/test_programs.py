"""Running programs for a build: success, failure, and a missing program."""

import sys

import pytest

from firmware.programs import BuildError, must, run


def test_run_passes_input_and_returns_the_exit_code() -> None:
    script = "import os, sys; print(sys.stdin.read() + os.environ['WORD']); sys.exit(3)"

    done = run([sys.executable, "-c", script], environ={"WORD": "b"}, stdin="a")

    assert (done.returncode, done.stdout) == (3, "ab\n")


def test_must_raises_with_the_end_of_stderr() -> None:
    with pytest.raises(BuildError, match="no such day") as caught:
        must([sys.executable, "-c", "raise SystemExit('no such day')"], "try another")

    assert caught.value.hint == "try another"


def test_must_returns_stdout() -> None:
    assert must([sys.executable, "-c", "print('done')"]) == "done\n"


def test_missing_program_is_an_error_with_a_hint() -> None:
    with pytest.raises(BuildError, match="absent-program is not installed") as caught:
        run(["absent-program"], "apt-get install it")

    assert caught.value.hint == "apt-get install it"
