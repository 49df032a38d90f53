"""The roster that the archive believes, while its file changes."""

from typing import TYPE_CHECKING

import pytest

from listener.archive.roster import ReloadingRoster
from listener.errors import ConfigError

if TYPE_CHECKING:
    from tests.conftest import Household


def test_an_edited_roster_counts_at_once_and_a_damaged_one_does_not(
    household: "Household", caplog: pytest.LogCaptureFixture
) -> None:
    fresh = ReloadingRoster(household.home)
    assert set(fresh().active_owners()) == {"ada", "bob"}

    household.home.change_roster(lambda roster: roster.without_owner("bob"))
    assert set(fresh().active_owners()) == {"ada"}

    (household.home.path / "roster.json").write_text("damaged", "utf-8")
    assert set(fresh().active_owners()) == {"ada"}
    assert "stays in force" in caplog.text

    with pytest.raises(ConfigError):
        ReloadingRoster(household.home)


def test_a_home_without_a_roster_knows_nobody(household: "Household") -> None:
    (household.home.path / "roster.json").unlink()

    assert ReloadingRoster(household.home)().devices == ()
