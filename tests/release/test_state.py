import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.release import state
from listener.release.state import FailedUpdate, UpdateState, VersionReport

BEGAN = UpdateState().begin("0.2.0", "0.1.0", "quieter")


def test_update_state_round_trip() -> None:
    for noted in (UpdateState(), BEGAN, BEGAN.advance("trial"), BEGAN.roll_back("why")):
        assert state.parse(state.render(noted), "x") == noted


def test_confirmed_update_raises_the_highest_version() -> None:
    stayed = BEGAN.advance("trial").confirm("0.2.0")

    assert (stayed.phase, stayed.target, stayed.previous) == ("idle", None, "0.1.0")
    assert stayed.highest == "0.2.0"
    assert stayed.failed is None


def test_rollback_does_not_raise_the_highest_version() -> None:
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
def test_damaged_update_state_is_an_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        state.parse(data, "update.json")

    assert state.report_version("0.1.0", data) == VersionReport(installed="0.1.0", latest="0.1.0")


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_raise_config_error(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(state.parse(data, "x"), UpdateState)


def test_unknown_fields_are_ignored() -> None:
    assert state.parse(b'{"phase":"idle","colour":"red"}', "x") == UpdateState()


def test_report_has_installed_and_pending_versions() -> None:
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
