"""The bar on standard error."""

import io

import pytest

from listener.evaluate.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_who_waits_sees_a_bar() -> None:
    errors = Terminal()

    with Progress(2, io.StringIO(), errors, patience_s=0.0) as progress:
        progress.advance(0.5)
        progress.file_done()
        progress.advance(1.0)

    assert "scoring" in errors.getvalue()


def test_short_work_goes_without() -> None:
    errors = Terminal()

    with Progress(1, io.StringIO(), errors, patience_s=1000.0) as progress:
        progress.advance(1.0)

    assert errors.getvalue() == ""


@pytest.mark.parametrize(
    ("output", "errors"),
    [(Terminal(), Terminal()), (io.StringIO(), io.StringIO()), (Terminal(), io.StringIO())],
    ids=["one terminal for both", "no terminal", "errors into a file"],
)
def test_where_it_would_disturb_nothing_is_drawn(output: io.StringIO, errors: io.StringIO) -> None:
    with Progress(1, output, errors, patience_s=0.0) as progress:
        progress.advance(1.0)

    assert output.getvalue() == errors.getvalue() == ""
