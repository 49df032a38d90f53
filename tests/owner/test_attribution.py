import numpy as np
import pyrage
import pytest

from listener.audio.clip import Clip, EndReason
from listener.owner.attribution import Attribution, AttributionResult, Keeper
from listener.owner.roster import Roster


@pytest.fixture
def clip() -> Clip:
    return Clip(
        samples=np.zeros(16_000, np.int16),
        first_sample=0,
        wake_sample=8_000,
        end_sample=16_000,
        pre_roll_samples=8_000,
        end_reason=EndReason.SILENCE,
    )


@pytest.fixture
def added() -> Roster:
    return Roster().with_owner("ada", str(pyrage.x25519.Identity.generate().to_public()))


@pytest.fixture
def confirmed(added: Roster) -> Roster:
    return added.with_challenge("ada", "answer", 0).with_confirmation("ada", "answer", 0)


def test_every_clip_is_attributed_to_the_keeper(confirmed: Roster, clip: Clip) -> None:
    attribution: Attribution = Keeper("ada", lambda: confirmed)

    found = attribution.attribute(clip)

    assert found == AttributionResult(confirmed.owners[0], spk=None)


def test_clip_without_a_keeper_has_no_owner(confirmed: Roster, clip: Clip) -> None:
    assert Keeper(None, lambda: confirmed).attribute(clip) is None


def test_keeper_missing_from_the_roster_owns_no_clip(confirmed: Roster, clip: Clip) -> None:
    assert Keeper("bob", lambda: confirmed).attribute(clip) is None


def test_unconfirmed_keeper_owns_no_clip(added: Roster, clip: Clip) -> None:
    assert Keeper("ada", lambda: added).attribute(clip) is None
    challenged = added.with_challenge("ada", "answer", 0)
    assert Keeper("ada", lambda: challenged).attribute(clip) is None


def test_keeper_removed_at_run_time_owns_no_further_clip(confirmed: Roster, clip: Clip) -> None:
    rosters = iter([confirmed, confirmed.without_owner("ada")])
    keeper = Keeper("ada", lambda: next(rosters))

    assert keeper.attribute(clip) is not None
    assert keeper.attribute(clip) is None
