"""Second part of ``earmark demo``: a spoken command switches a lamp, by assist, without a cloud."""

import concurrent.futures
import contextlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.assist.understanding import model_files
from listener.demo import checks, command_checks, output, scene
from listener.demo.broker import CapturedMessage, publish, run_wiretap
from listener.demo.checks import ClaimChecks, events_of_kind
from listener.demo.households import (
    DEVICE,
    KEEPER,
    LAMP_TOPIC,
    OTHER_DEVICE,
    OTHER_KEEPER,
    OWNERS,
    DemoHouseholds,
)
from listener.demo.output import Transcript
from listener.demo.player import Event, play_scene
from listener.demo.scene import Scene
from listener.errors import Unavailable
from listener.voice import timing

READY_S: Final = 120.0
SLOW_S: Final = 60.0
OUTCOME_S: Final = 12.0
"""Longest wait for an outcome after hear has ended; assist acts within 10 s."""
TRIES: Final = 5
AGAIN: Final = "again"
"""First word of the line about a command that is repeated."""
LEFT_OUT: Final = "this part was left out"
_TURN_S: Final = 0.05
REPLAY_S: Final = 3.0
"""Wait after the replay: some times what assist needs for a command."""
PACKAGES: Final = ("hassil", "home_assistant_intents", "unicode_rbnf", "websockets")


def find_model(home: Path) -> Path:
    """Return the folder of the speech model, if everything that the part needs is installed.

    Args:
        home: data directory with the speech model.

    Raises:
        Unavailable: a package or the speech model is missing.
        ModelRefused: the speech model is not the expected one.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise Unavailable(f"{missing[0]} is not installed", "pip install 'earmark[assist]'")
    folder = model_files.model_folder(home)
    if not folder.is_dir():
        raise Unavailable("the speech model is not installed", "run earmark assist models")
    for name in model_files.FILES:
        model_files.read_model_file(folder, name)
    return folder


@dataclass(frozen=True, slots=True)
class CommandStage:
    """What the second part needs of the first."""

    homes: DemoHouseholds
    page: Transcript
    checked: ClaimChecks
    port: int
    """Of the broker."""
    key: str
    """Public key of assist."""


@contextlib.contextmanager
def running_assist(homes: DemoHouseholds) -> Iterator[None]:
    """Run assist while the block runs; it loads the speech model meanwhile."""
    with homes.running(homes.assist, "assist", "serve", "--verbose"):
        yield


def show_command(stage: CommandStage) -> None:
    """Allow voice control, play the command to two speakers, and check what became of it.

    Raises:
        EarmarkError: a part of it failed; statements that do not hold go to ``stage.checked``.
    """
    homes, page = stage.homes, stage.page
    spoken = scene.load_scene(name=scene.COMMAND)
    page.line("scene", f"{spoken.length_s:.0f} s: {spoken.about}")
    page.moving(f"{KEEPER} allows voice control")
    with (
        homes.running(homes.archive, "archive"),
        homes.running(homes.speaker, "send"),
        homes.running(homes.other_speaker, "send"),
        run_wiretap(stage.port) as passed,
        run_wiretap(stage.port, LAMP_TOPIC) as lamp,
    ):
        _allow(stage)
        page.line("consent", f"{KEEPER} allows spoken commands at the {DEVICE} speaker")
        heard = _play_until_carried_out(stage, spoken, passed, lamp)
        command_checks.check_lamp(stage.checked, lamp)
        if not lamp:
            return
        for line in heard.lines:
            page.line("hear", line)
        after_s = lamp[0].received_s - heard.speech_end_s
        page.line("lamp", f"on, {after_s:.1f} s after the end of the command")
        _show_copies(stage, heard, passed)
        _replay(stage, passed, lamp)
    command_checks.check_text(stage.checked, homes.root, [cue.text for cue in spoken.said])
    checks.check_disk(stage.checked, homes.root)


@dataclass(frozen=True, slots=True)
class _Heard:
    lines: list[str]
    """Events of the first speaker, formatted."""
    events: list[Event]
    others: list[Event]
    """Events of the other owner's speaker."""
    speech_end_s: float
    """End of the command on the monotonic clock, in seconds."""


def _allow(stage: CommandStage) -> None:
    homes = stage.homes
    homes.wait_until((homes.archive / "archive.sock").exists, "the archive answers", READY_S)
    # It exits with 1 while the speaker has not stated that it follows.
    homes.run(
        *(homes.archive, "clips", "voice", "on", "--speaker", DEVICE, "--assist", stage.key),
        *("--owner", KEEPER, "--identity", str(homes.identity(KEEPER))),
    )
    spool = homes.speaker / "spool"
    homes.wait_until((spool / "consents.json").exists, "the speaker has the consent", READY_S)
    log = homes.log(homes.assist, "assist")
    homes.wait_until(
        lambda: "connected with MQTT" in log.read_text("utf-8", "replace"),
        "assist is connected",
        READY_S,
    )
    # Of this moment and not of the connection, which may be a minute ago: at most 3.5 s too long.
    left_s = timing.GROUP_S - (time.time() - log.stat().st_mtime)
    time.sleep(max(0.0, left_s))


def _play_until_carried_out(
    stage: CommandStage,
    spoken: Scene,
    passed: list[CapturedMessage],
    lamp: Sequence[CapturedMessage],
) -> _Heard:
    """Play the command, and again where this computer was too slow for the limits of time."""
    for _ in range(TRIES - 1):
        heard, outcome = _play_once(stage, spoken, passed)
        if lamp or outcome == "done":
            return heard
        stage.page.line(AGAIN, f"{outcome}: this computer was too busy; the command is repeated")
    return _play_once(stage, spoken, passed)[0]


def _play_once(
    stage: CommandStage, spoken: Scene, passed: list[CapturedMessage]
) -> tuple[_Heard, str]:
    """Play the command, and wait for its outcome."""
    before = len(command_checks.outcomes(passed))
    heard = _play(stage, spoken)
    stage.page.moving("waiting for the lamp")
    until_s = time.monotonic() + OUTCOME_S
    while time.monotonic() < until_s:
        if new := command_checks.outcomes(passed)[before:]:
            return heard, new[0]
        time.sleep(_TURN_S)
    return heard, "no outcome"


def _play(stage: CommandStage, spoken: Scene) -> _Heard:
    """Play the command to both speakers at once, in real time."""
    homes, page = stage.homes, stage.page
    (cue,) = spoken.wakes
    end_s: list[float] = []
    lines: list[str] = []

    def show(event: Event) -> None:
        if event["event"] == "wake":
            end_s.append(time.monotonic() + cue.to_s - event["time_s"])
        if text := output.format_event(event):
            lines.append(text)

    def play(home: Path, *, is_shown: bool) -> list[Event]:
        return play_scene(
            homes.command_line(home, "hear", "--json", "--microphone", str(spoken.file)),
            spoken.length_s + SLOW_S,
            homes.log(home, "hear-command"),
            on_event=show if is_shown else lambda _event: None,
            on_moment=lambda time_s: (
                page.moving(output.describe_moment(spoken, time_s)) if is_shown else None
            ),
        )

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(play, homes.other_speaker, is_shown=False)
        events = play(homes.speaker, is_shown=True)
        others = other.result()
    stage.checked.check(
        "both speakers detected the wake word",
        when=len(end_s) == len(events_of_kind(others, "wake")) == 1,
    )
    return _Heard(lines, events, others, end_s[0] if end_s else time.monotonic())


def _show_copies(stage: CommandStage, heard: _Heard, passed: list[CapturedMessage]) -> None:
    homes, page = stage.homes, stage.page
    clips = [*events_of_kind(heard.events, "sealed"), *events_of_kind(heard.others, "sealed")]
    homes.wait_until(
        lambda: len({message.topic for message in passed if message.is_clip}) >= len(clips),
        "the broker has carried each clip",
        READY_S,
    )
    keys = [homes.identity(owner).read_text("ascii").strip() for owner in OWNERS]
    command_checks.check_copies(stage.checked, passed, keys)
    copies = command_checks.copies(passed)
    size_bytes = len(copies[-1].payload) if copies else 0
    page.line("broker", f"carried a copy of the command, {size_bytes:,} bytes; no key opens it:")
    page.line("", f"not {KEEPER}'s, not {OTHER_KEEPER}'s, and its own is erased")
    stage.checked.check(
        f"the {OTHER_DEVICE} speaker kept one clip for {OTHER_KEEPER}",
        when=[event["owner"] for event in events_of_kind(heard.others, "sealed")] == [OTHER_KEEPER],
    )
    page.line(
        OTHER_KEEPER, f"allowed nothing: the {OTHER_DEVICE} speaker woke too, and made no copy"
    )


def _replay(
    stage: CommandStage, passed: list[CapturedMessage], lamp: Sequence[CapturedMessage]
) -> None:
    """Publish everything that the speaker sent to assist again."""
    stage.page.moving("a thief sends the recorded command again")
    recorded = [message for message in passed if command_checks.is_for_assist(message)]
    publish(stage.port, recorded)
    # assist says nothing about a copy that comes again, so that no broker can fake an outcome.
    time.sleep(REPLAY_S)
    stage.checked.check(
        "the command was carried out once",
        when=len(lamp) == 1 and command_checks.outcomes(passed).count("done") == 1,
    )
    stage.page.line("thief", "sends the recorded command again: the lamp is not switched again")
