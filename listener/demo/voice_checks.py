"""Checks of the demo's claims about attribution by voice."""

from collections.abc import Sequence

from listener.demo.checks import ClaimChecks, events_of_kind, has_matching_wakes
from listener.demo.households import OWNERS
from listener.demo.player import Event
from listener.demo.scene import Scene

_SIMILARITY = ("similarity", "spk")


def check_voices(facts: ClaimChecks, scene: Scene, events: Sequence[Event]) -> None:
    """Check hear's events: a clip for each owner's command, and none for the guest's."""
    ends = {
        event["time_s"]: event.get("owner", "")
        for event in events
        if event["event"] in {"sealed", "not_kept"}
    }
    expected = [cue.who if cue.who in OWNERS else "" for cue in scene.wakes]
    facts.check(
        "each of the three voices woke the speaker",
        when=has_matching_wakes(events_of_kind(events, "wake"), scene.wakes),
    )
    facts.check(
        "each owner's command belongs to the owner who spoke, and the guest's to no owner",
        when=[owner for _, owner in sorted(ends.items())] == expected,
    )
    total = (events_of_kind(events, "ended") or [{}])[-1]
    facts.check("the guest was counted without a name", when=total.get("guests") == 1)
    facts.check(
        "hear printed no similarity of a voice",
        when=not any(name in event for event in events for name in _SIMILARITY),
    )


def check_owners(facts: ClaimChecks, owners: Sequence[str]) -> None:
    """Check that the spool has one clip for each owner.

    Args:
        facts: receives the claim.
        owners: the owner of each envelope in the spool.
    """
    facts.check(
        "the speaker has sealed one clip for each owner, and none for the guest",
        when=sorted(owners) == sorted(OWNERS),
    )
