import pytest

from listener.demo import scene, voice_checks
from listener.demo.checks import ClaimChecks
from listener.demo.player import Event
from listener.errors import EarmarkError

STAGE = scene.load_scene(name=scene.VOICES)


def events() -> list[Event]:
    """What a hear that does everything right prints."""
    made: list[Event] = []
    for cue in STAGE.wakes:
        made.append({"event": "wake", "time_s": cue.from_s + 0.6})
        kind = {"event": "not_kept", "reason": "unattributed"}
        if cue.who != "guest":
            kind = {"event": "sealed", "owner": cue.who}
        made.append({**kind, "time_s": cue.from_s})
    return [*made, {"event": "ended", "guests": 1}]


def failed(changed: list[Event]) -> str:
    facts = ClaimChecks()
    voice_checks.check_voices(facts, STAGE, changed)
    with pytest.raises(EarmarkError) as caught:
        facts.raise_on_failure()
    return str(caught.value)


def test_scene_has_two_owners_and_a_guest() -> None:
    assert [cue.who for cue in STAGE.wakes] == ["ada", "bo", "guest"]
    assert all(scene.load_enrolment(owner).is_file() for owner in ("ada", "bo"))


def test_run_in_which_each_owner_has_a_clip_passes() -> None:
    facts = ClaimChecks()

    voice_checks.check_voices(facts, STAGE, events())
    voice_checks.check_owners(facts, ["bo", "ada"])

    facts.raise_on_failure()


@pytest.mark.parametrize(("at", "owner"), [(1, "bo"), (3, "ada"), (5, "ada")])
def test_clip_of_another_owner_is_reported(at: int, owner: str) -> None:
    changed = events()
    changed[at] = {"event": "sealed", "owner": owner, "time_s": changed[at]["time_s"]}

    assert "belongs to the owner who spoke" in failed(changed)


@pytest.mark.parametrize("at", range(6))
def test_missing_event_is_reported(at: int) -> None:
    changed = events()
    del changed[at]

    assert failed(changed)


def test_guest_who_was_not_counted_is_reported() -> None:
    assert "counted without a name" in failed(events()[:-1])


@pytest.mark.parametrize("name", ["similarity", "spk"])
def test_similarity_in_an_event_is_reported(name: str) -> None:
    changed = events()
    changed[1][name] = 0.7

    assert "no similarity" in failed(changed)


@pytest.mark.parametrize("owners", [[], ["ada"], ["ada", "ada"], ["ada", "bo", "bo"]])
def test_spool_with_other_clips_is_reported(owners: list[str]) -> None:
    facts = ClaimChecks()

    voice_checks.check_owners(facts, owners)

    with pytest.raises(EarmarkError, match="one clip for each owner"):
        facts.raise_on_failure()
