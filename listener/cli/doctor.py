"""``earmark doctor``: checks microphone, mute, keys, broker and machine, with a remedy for each."""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener.cli.archive_clock import check_archive
from listener.cli.assist_checks import check_assist, check_assist_files
from listener.cli.main import with_examples
from listener.config import Config
from listener.doctor import (
    archive_files,
    audio,
    boot,
    installation,
    machine,
    playback_service,
    systemd,
    voice_files,
)
from listener.errors import UsageError
from listener.system.findings import Finding, by_weight, summary, to_json, to_text

ROOT: Final = Path("/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark doctor``."""
    parser.epilog = with_examples(
        "Unless muted, the microphone is opened for 3 seconds to measure its level; no audio is\n"
        "stored. Failures are printed first; checks that do not concern this machine are left out\n"
        "without --json. The exit code is 1 when a check fails.",
        "earmark doctor",
        'earmark doctor --device "USB" --channel 1',
        "earmark doctor --throw-switch",
        "earmark doctor --json",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="check this input device: default, an index, or part of its name"
        " (default: microphone.device)",
    )
    parser.add_argument(
        "--channel",
        metavar="N",
        type=int,
        help="input channel, from 0 (default: microphone.channel)",
    )
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument(
        "--throw-switch",
        action="store_true",
        help="wait until you move the mute switch both ways, and report whether it was detected",
    )
    switch.add_argument(
        "--prove-mute",
        action="store_true",
        help="with the switch on mute: measure whether it cuts the microphone; speak meanwhile",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the checks; return 1 when one fails.

    Raises:
        UsageError: the channel is out of range.
    """
    settings = _apply_arguments(arguments, settings)
    if arguments.prove_mute:
        print("earmark: with the switch on mute, speak for some seconds", file=sys.stderr)
    if arguments.throw_switch:
        print(
            "earmark: move the switch, then move it back, within 20 seconds each", file=sys.stderr
        )
    found: list[Finding] = []
    findings = _run_checks(
        settings, prove_mute=arguments.prove_mute, throw_switch=arguments.throw_switch
    )
    for finding in findings:
        found.append(finding)
        if arguments.json:
            print(to_json(finding), flush=True)
    if not arguments.json:
        for finding in by_weight(found):
            print(to_text(finding))
        print(summary(found))
    return 1 if any(finding.verdict == "fail" for finding in found) else 0


def _run_checks(settings: Config, *, prove_mute: bool, throw_switch: bool) -> Iterator[Finding]:
    yield from audio.check_microphone(settings, prove_mute=prove_mute, throw_switch=throw_switch)
    if prove_mute or throw_switch:
        return
    yield from installation.check_installation(settings)
    yield from _check_voice_control(settings)
    yield from archive_files.check_archive(settings, time.time())
    yield installation.check_broker(settings.broker)
    yield from check_archive(settings)
    yield from check_assist_files(settings)
    yield from check_assist(settings)
    yield from _check_machine(settings, ROOT)


def _check_voice_control(settings: Config) -> Iterator[Finding]:
    mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    home, keeper = Path(settings.home), settings.attribution.keeper
    yield voice_files.check_voice_control(home, keeper, mounts)
    if (player := voice_files.check_player(home, keeper)) is not None:
        yield player


def _check_machine(settings: Config, root: Path) -> Iterator[Finding]:
    """Yield the checks of the machine's files and of systemd."""
    yield boot.check_boot(root, settings.mute)
    yield boot.check_overlay(root, settings.mute)
    yield audio.check_cards(root, settings)
    yield audio.check_lamp(root, settings.lamp)
    built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    yield machine.check_clock(root, datetime.now(UTC), built)
    yield machine.check_temperature(root)
    yield machine.check_throttling(root)
    yield machine.check_swap(root / "proc")
    yield machine.check_cgroup(root)
    yield machine.check_core_dumps(root / "proc")
    if (loudspeaker := playback_service.check_loudspeaker(root, settings.player)) is not None:
        yield loudspeaker
    yield from systemd.check_sandbox()
    yield systemd.check_telemetry(root)


def _apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    microphone = settings.microphone
    if arguments.device:
        microphone = msgspec.structs.replace(microphone, device=arguments.device, files=())
    if arguments.channel is not None:
        if arguments.channel < 0:
            raise UsageError(f"--channel {arguments.channel}: channels start at 0")
        microphone = msgspec.structs.replace(microphone, channel=arguments.channel)
    return msgspec.structs.replace(settings, microphone=microphone)
