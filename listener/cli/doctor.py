"""``earmark doctor``: what this device has, what is wrong with it, and what to do."""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener.config import Config
from listener.doctor import audio, boot, installation, machine, systemd
from listener.errors import UsageError
from listener.system.findings import Finding, to_json, to_text

ROOT: Final = Path("/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``earmark doctor`` understands."""
    parser.epilog = (
        "The microphone is listened to for 3 seconds, for numbers, unless it is muted.\n"
        "Exit code 1 when a line says fail."
    )
    parser.add_argument(
        "--device", metavar="NAME", help="look at this device instead of microphone.device"
    )
    parser.add_argument("--channel", metavar="N", type=int, help="listen to this channel, from 0")
    asks = parser.add_mutually_exclusive_group()
    asks.add_argument(
        "--throw-switch",
        action="store_true",
        help="wait for you to throw the switch to and fro, and say what was noticed",
    )
    asks.add_argument(
        "--prove-mute",
        action="store_true",
        help="with the switch shut: try whether it really cuts the microphone; speak meanwhile",
    )
    parser.add_argument("--json", action="store_true", help="print findings as JSON, one a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Look at everything; return 1 when something fails.

    Raises:
        UsageError: the arguments ask for what cannot be.
    """
    settings = _apply_arguments(arguments, settings)
    if arguments.prove_mute:
        print("earmark: speak for some seconds, with the switch shut", file=sys.stderr)
    if arguments.throw_switch:
        print("earmark: throw the switch, and back again, within 20 seconds each", file=sys.stderr)
    has_failed = False
    found = _run_checks(
        settings, prove_mute=arguments.prove_mute, throw_switch=arguments.throw_switch
    )
    for finding in found:
        print(to_json(finding) if arguments.json else to_text(finding), flush=True)
        has_failed = has_failed or finding.verdict == "fail"
    return 1 if has_failed else 0


def _run_checks(settings: Config, *, prove_mute: bool, throw_switch: bool) -> Iterator[Finding]:
    yield from audio.check_microphone(settings, prove_mute=prove_mute, throw_switch=throw_switch)
    if prove_mute or throw_switch:
        return
    yield from installation.check_installation(settings)
    yield installation.check_broker(settings.broker)
    yield from _check_machine(settings, ROOT)


def _check_machine(settings: Config, root: Path) -> Iterator[Finding]:
    """Yield what the machine's own files and systemd tell."""
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
    yield from systemd.check_sandbox()
    yield systemd.check_telemetry(root)


def _apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    microphone = settings.microphone
    if arguments.device:
        microphone = msgspec.structs.replace(microphone, device=arguments.device, files=())
    if arguments.channel is not None:
        if arguments.channel < 0:
            raise UsageError("channels count from 0")
        microphone = msgspec.structs.replace(microphone, channel=arguments.channel)
    return msgspec.structs.replace(settings, microphone=microphone)
