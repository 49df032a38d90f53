import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.release import state
from listener.release.state import FailedUpdate, UpdateState, VersionReport

BEGAN = UpdateState().begin("0.2.0", "0.1.0", "quieter")


def test_what_is_written_is_read_again() -> None:
    for noted in (UpdateState(), BEGAN, BEGAN.advance("trial"), BEGAN.roll_back("why")):
        assert state.parse(state.render(noted), "x") == noted


def test_an_update_that_stays_raises_what_counts_as_new() -> None:
    stayed = BEGAN.advance("trial").confirm("0.2.0")

    assert (stayed.phase, stayed.target, stayed.previous) == ("idle", None, "0.1.0")
    assert stayed.highest == "0.2.0"
    assert stayed.failed is None


def test_an_update_that_is_taken_back_does_not() -> None:
    returned = BEGAN.advance("trial").roll_back("hear did not score")

    assert returned.highest is None
    assert returned.failed == FailedUpdate(version="0.2.0", reason="hear did not score")
    assert not returned.is_in_progress


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
        b" " * (state.LIMIT_BYTES + 1),
    ],
)
def test_what_is_damaged_is_said(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        state.parse(data, "update.json")

    assert state.report_version("0.1.0", data) == VersionReport(installed="0.1.0", latest="0.1.0")


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_journal_or_damaged(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(state.parse(data, "x"), UpdateState)


def test_what_a_newer_version_notes_besides_is_left_alone() -> None:
    assert state.parse(b'{"phase":"idle","colour":"red"}', "x") == UpdateState()


def test_a_household_is_told_what_runs_and_what_is_on_its_way() -> None:
    def shown(noted: UpdateState, installed: str = "0.1.0") -> VersionReport:
        return state.report_version(installed, state.render(noted))

    assert state.report_version("0.1.0", None) == VersionReport(installed="0.1.0", latest="0.1.0")
    assert shown(BEGAN) == VersionReport(
        installed="0.1.0", latest="0.2.0", in_progress=True, summary="quieter"
    )
    back = shown(BEGAN.roll_back("hear did not score"))
    assert (back.latest, back.in_progress) == ("0.2.0", False)
    assert "hear did not score" in back.summary
    assert shown(BEGAN.confirm("0.2.0"), "0.2.0") == VersionReport(
        installed="0.2.0", latest="0.2.0"
    )
