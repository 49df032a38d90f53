"""Part of ``earmark demo``: two owners share a speaker by their voices, and a guest speaks too."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.demo import checks, output, scene, voice_checks
from listener.demo.checks import ClaimChecks
from listener.demo.households import OWNERS, DemoHouseholds
from listener.demo.output import Transcript
from listener.demo.player import Event, play_scene
from listener.demo.scene import Scene
from listener.spool.queue import Spool
from listener.storage.locations import VOICEPRINTS

SLOW_S: Final = 120.0
"""Time for hear beyond the length of the scene, on a slow machine."""


@dataclass(frozen=True, slots=True)
class VoicesPlayed:
    """What hear printed about the scene of three voices."""

    stage: Scene
    events: list[Event]


def play_voices(homes: DemoHouseholds, port: int, *, is_fast: bool) -> VoicesPlayed:
    """Enrol the owners at a speaker of their own, and play the scene to it; print nothing.

    It can run beside the first scene: it uses another speaker, and no sender and archive.

    Args:
        homes: the households, prepared.
        port: of the broker.
        is_fast: whether the scene is processed as fast as possible.

    Raises:
        EarmarkError: a command failed.
    """
    stage = scene.load_scene(name=scene.VOICES)
    homes.prepare_voices(port, {owner: scene.load_enrolment(owner) for owner in OWNERS})
    options = ["--json", "--microphone", str(stage.file), *(["--fast"] if is_fast else [])]
    events = play_scene(
        homes.command_line(homes.shared_speaker, "hear", *options),
        stage.length_s + SLOW_S,
        homes.root / "hear-voices.log",
        on_event=lambda _: None,
        on_moment=lambda _: None,
    )
    return VoicesPlayed(stage, events)


def show_voices(
    played: VoicesPlayed, homes: DemoHouseholds, page: Transcript, checked: ClaimChecks
) -> None:
    """Print what became of each voice, after checks of it.

    Raises:
        EarmarkError: a command failed; statements that do not hold go to ``checked``.
    """
    stage, events = played.stage, played.events
    page.line("scene", f"{stage.length_s:.0f} s: {stage.about}")
    for event in events:
        if text := output.format_event(event):
            page.line("hear", text)
    voice_checks.check_voices(checked, stage, events)
    spool = homes.shared_speaker / "spool"
    sealed = Spool(spool, Config().spool).waiting()
    files = [spool / entry.name for entry in sealed]
    voice_checks.check_owners(checked, [entry.owner for entry in sealed])
    for owner in OWNERS:
        _show_owner(owner, homes, files, page, checked)
    voiceprints = sorted(path.name for path in (homes.shared_speaker / VOICEPRINTS).iterdir())
    checked.check(
        "the speaker keeps a voiceprint of each owner and of no other person",
        when=voiceprints == [f"{owner}.json" for owner in sorted(OWNERS)],
    )
    checks.check_disk(checked, homes.root)
    page.line("guest", "has no clip, and nothing is kept of this voice but a count")


def _show_owner(
    owner: str,
    homes: DemoHouseholds,
    files: Sequence[Path],
    page: Transcript,
    checked: ClaimChecks,
) -> None:
    """Try to decrypt every clip with an owner's key."""
    page.moving(f"{owner} decrypts the clips")
    to = homes.root / "voices" / owner
    results = [
        homes.run(
            *(homes.archive, "archive", "open", str(file), "--to", str(to), "--json"),
            *("--identity", str(homes.identity(owner))),
        )
        for file in files
    ]
    opened = [json.loads(one.out) for one in results if one.code == 0]
    checked.check(
        f"{owner} decrypts the clip of their own voice, and no other", when=len(opened) == 1
    )
    for row in opened:
        Path(row["file"]).unlink()
    others = len(files) - len(opened)
    page.line(owner, f"decrypts the clip of this voice, and not the other{'s' * (others > 1)}")
