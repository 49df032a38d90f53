import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.release import journal
from listener.release.journal import Failed, Journal, Shown

BEGAN = Journal().began("0.2.0", "0.1.0", "quieter")


def test_what_is_written_is_read_again() -> None:
    for noted in (Journal(), BEGAN, BEGAN.moved("trial"), BEGAN.returned("why")):
        assert journal.parse(journal.render(noted), "x") == noted


def test_an_update_that_stays_raises_what_counts_as_new() -> None:
    stayed = BEGAN.moved("trial").stayed("0.2.0")

    assert (stayed.phase, stayed.target, stayed.previous) == ("idle", None, "0.1.0")
    assert stayed.highest == "0.2.0"
    assert stayed.failed is None


def test_an_update_that_is_taken_back_does_not() -> None:
    returned = BEGAN.moved("trial").returned("hear did not score")

    assert returned.highest is None
    assert returned.failed == Failed(version="0.2.0", reason="hear did not score")
    assert not returned.is_under_way


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"v":2}',
        b'{"phase":"trial"}',
        b'{"phase":"trial","target":"0.2.0"}',
        b'{"phase":"flying"}',
        b'{"target":"../x"}',
        b" " * (journal.LIMIT_BYTES + 1),
    ],
)
def test_what_is_damaged_is_said(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        journal.parse(data, "update.json")

    assert journal.shown("0.1.0", data) == Shown(installed="0.1.0", latest="0.1.0")


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_journal_or_damaged(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(journal.parse(data, "x"), Journal)


def test_what_a_newer_version_notes_besides_is_left_alone() -> None:
    assert journal.parse(b'{"phase":"idle","colour":"red"}', "x") == Journal()


def test_a_household_is_told_what_runs_and_what_is_on_its_way() -> None:
    def shown(noted: Journal, installed: str = "0.1.0") -> Shown:
        return journal.shown(installed, journal.render(noted))

    assert journal.shown("0.1.0", None) == Shown(installed="0.1.0", latest="0.1.0")
    assert shown(BEGAN) == Shown(
        installed="0.1.0", latest="0.2.0", in_progress=True, summary="quieter"
    )
    back = shown(BEGAN.returned("hear did not score"))
    assert (back.latest, back.in_progress) == ("0.2.0", False)
    assert "hear did not score" in back.summary
    assert shown(BEGAN.stayed("0.2.0"), "0.2.0") == Shown(installed="0.2.0", latest="0.2.0")
