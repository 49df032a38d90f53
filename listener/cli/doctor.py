"""``earmark doctor``: checks each role of this computer, and the machine, with a remedy for each.

A speaker's are microphone, mute, keys, models, spool and broker; a hub's are archive, broker and
certificates; assist's are its key, roster and programs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener.cli.archive_clock import check_archive
from listener.cli.assist_checks import check_assist, check_assist_files
from listener.cli.hub_checks import check_household, check_service
from listener.cli.main import ASSIST_CONFIG, HUB_CONFIG, read_config_file, with_examples
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
    voiceprint_files,
)
from listener.doctor.broker_session import check_broker_sessions
from listener.doctor.roles import Role, find_configured_roles, find_installed_roles
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.ipc.notice_socket import SOCKET
from listener.system.findings import Check, Finding, by_weight, summary, to_json, to_text

ROOT: Final = Path("/")
_ROLE: Final = "role"
_CONFIG_PATHS: Final[Mapping[Role, str]] = {"hub": HUB_CONFIG, "assist": ASSIST_CONFIG}
_CONFIG_HINTS: Final[Mapping[Role, str]] = {
    "hub": "create it: sudo earmark household init --system",
    "assist": "create it: see docs/guides/voice-control.md",
}
_REQUIRED_UNITS: Final[Mapping[Role, Iterable[str]]] = {
    "speaker": (systemd.HEAR, systemd.SEND),
    "hub": (systemd.ARCHIVE,),
    "assist": (systemd.ASSIST,),
}
_SPEAKER_OPTIONS: Final = ("device", "channel", "throw_switch", "prove_mute")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark doctor``."""
    parser.epilog = with_examples(
        "The checks are those of this computer's roles: speaker, hub, assist. A role is a service\n"
        "that is enabled; with --config or --home, what that data directory is used for.\n"
        "On a speaker that is not muted, the microphone is opened for 3 seconds to measure its\n"
        "level; no audio is stored. Failures are printed first; checks that do not concern this\n"
        "machine are left out without --json. The exit code is 1 when a check fails.",
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
        UsageError: the channel is out of range, or the option is for a speaker and this is none.
    """
    settings = _apply_arguments(arguments, settings)
    installed = _find_roles(arguments, settings)
    named = [
        option
        for option in _SPEAKER_OPTIONS
        if getattr(arguments, option) is not None and getattr(arguments, option) is not False
    ]
    if named and "speaker" not in installed:
        raise UsageError(
            f"--{named[0].replace('_', '-')}: this computer is a {' and '.join(installed)}, and"
            " has no microphone",
            "run earmark doctor on the speaker",
        )
    if arguments.prove_mute:
        print("earmark: with the switch on mute, speak for some seconds", file=sys.stderr)
    if arguments.throw_switch:
        print(
            "earmark: move the switch, then move it back, within 20 seconds each", file=sys.stderr
        )
    found: list[Finding] = []
    findings = _run_checks(
        installed, prove_mute=arguments.prove_mute, throw_switch=arguments.throw_switch
    )
    for finding in findings:
        found.append(finding)
        if arguments.json:
            print(to_json(finding), flush=True)
    if not arguments.json:
        print(f"{'role' if len(installed) == 1 else 'roles'}: {', '.join(installed)}")
        for finding in by_weight(found):
            print(to_text(_name_role(finding) if len(installed) > 1 else finding))
        print(summary(found))
    return 1 if any(finding.verdict == "fail" for finding in found) else 0


def _find_roles(arguments: argparse.Namespace, settings: Config) -> dict[Role, Config | None]:
    """Return the roles of this computer with their configurations; None for one to be read.

    A configuration or a data directory that is named is checked for what it is used for.
    """
    is_named = any(getattr(arguments, name, None) for name in ("config", "home"))
    installed = () if is_named else find_installed_roles(ROOT)
    if not installed:
        return dict.fromkeys(find_configured_roles(settings), settings)
    return {role: settings if role == "speaker" else None for role in installed}


def _run_checks(
    installed: Mapping[Role, Config | None], *, prove_mute: bool, throw_switch: bool
) -> Iterator[Finding]:
    """Yield the findings of each role, with the role as a fact, and of the machine."""
    only_switch = prove_mute or throw_switch
    speaker = installed.get("speaker")
    if speaker is not None:
        microphone = audio.check_microphone(
            speaker, prove_mute=prove_mute, throw_switch=throw_switch
        )
        yield from _with_role("speaker", microphone)
    if only_switch:
        return
    for role, known in installed.items():
        try:
            config = known if known is not None else _read_config(role)
        except EarmarkError as error:
            yield from _with_role(role, [Check("config").fail_with(error)])
            continue
        yield from _with_role(role, _CHECKS[role](config))
    yield from _check_machine(ROOT)
    required = [unit for role in installed for unit in _REQUIRED_UNITS[role]]
    yield from systemd.check_sandbox(required=required)


def _read_config(role: Role) -> Config:
    path = ROOT / _CONFIG_PATHS[role].lstrip("/")
    if not path.exists():
        raise ConfigError(f"{path} is missing", _CONFIG_HINTS[role])
    config = read_config_file(path, must_exist=True)
    if not config.home:
        raise ConfigError(f"{path} does not name a data directory", "set home there")
    return config


def _with_role(role: Role, findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield msgspec.structs.replace(finding, facts=finding.facts | {_ROLE: role})


def _name_role(finding: Finding) -> Finding:
    """Return a finding whose text begins with its role, if it has one."""
    role = finding.facts.get(_ROLE)
    return (
        finding
        if role is None
        else msgspec.structs.replace(finding, text=f"{role}: {finding.text}")
    )


def _check_speaker(settings: Config) -> Iterator[Finding]:
    yield from installation.check_installation(settings)
    if (voiceprints := voiceprint_files.check_voiceprints(settings)) is not None:
        yield voiceprints
    yield from _check_voice_control(settings)
    yield from check_broker_sessions(settings.broker, (Path(settings.home) / SOCKET).parent, "send")
    yield boot.check_boot(ROOT, settings.mute)
    yield boot.check_overlay(ROOT, settings.mute)
    yield audio.check_cards(ROOT, settings)
    yield audio.check_lamp(ROOT, settings.lamp)
    if (loudspeaker := playback_service.check_loudspeaker(ROOT, settings.player)) is not None:
        yield loudspeaker
    yield systemd.check_telemetry(ROOT)


def _check_hub(settings: Config) -> Iterator[Finding]:
    home = Path(settings.home)
    yield check_service(home, settings.archive.process_name)
    yield from archive_files.check_archive(settings, time.time())
    yield from check_archive(settings)
    yield from check_broker_sessions(settings.broker, home, settings.archive.process_name)
    yield from check_household(settings)


def _check_assist(settings: Config) -> Iterator[Finding]:
    yield from check_assist_files(settings)
    yield from check_assist(settings)
    yield from check_broker_sessions(settings.broker, Path(settings.home), "assist")


def _check_voice_control(settings: Config) -> Iterator[Finding]:
    mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    home, keeper = Path(settings.home), settings.attribution.keeper
    yield voice_files.check_voice_control(home, keeper, mounts)
    if (player := voice_files.check_player(home, keeper)) is not None:
        yield player


def _check_machine(root: Path) -> Iterator[Finding]:
    """Yield the checks of the machine's files, which every role needs."""
    built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    yield machine.check_clock(root, datetime.now(UTC), built)
    yield machine.check_temperature(root)
    yield machine.check_throttling(root)
    yield machine.check_swap(root / "proc")
    yield machine.check_cgroup(root)
    yield machine.check_core_dumps(root / "proc")


def _apply_arguments(arguments: argparse.Namespace, settings: Config) -> Config:
    microphone = settings.microphone
    if arguments.device:
        microphone = msgspec.structs.replace(microphone, device=arguments.device, files=())
    if arguments.channel is not None:
        if arguments.channel < 0:
            raise UsageError(f"--channel {arguments.channel}: channels start at 0")
        microphone = msgspec.structs.replace(microphone, channel=arguments.channel)
    return msgspec.structs.replace(settings, microphone=microphone)


_CHECKS: Final[Mapping[Role, Callable[[Config], Iterator[Finding]]]] = {
    "speaker": _check_speaker,
    "hub": _check_hub,
    "assist": _check_assist,
}
