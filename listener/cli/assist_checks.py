"""``earmark doctor``: the checks of voice control, on the computer that runs assist."""

import ipaddress
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from listener.assist.speech import find_program
from listener.assist.understanding.home_file import parse_home_file
from listener.config import AssistSettings, Config
from listener.doctor import systemd
from listener.envelope import keys
from listener.errors import EarmarkError
from listener.quantities import quantity
from listener.storage.home import ASSIST_KEY, Home
from listener.system.findings import Check, Finding

if TYPE_CHECKING:
    from listener.assist.home_assistant import HomeAssistantAddress

_KEY: Final = Check("assist-key")
_ROSTER: Final = Check("assist-roster")
_SERVICE: Final = Check("assist-service")
_MODEL: Final = Check("assist-model")
_HOME_FILE: Final = Check("assist-home")
_PIPELINE: Final = Check("assist-pipeline")
_HOME_ASSISTANT: Final = Check("home-assistant")
_LINK: Final = Check("assist-link")
_SPEECH: Final = Check("assist-speech")


def check_assist(settings: Config) -> Iterator[Finding]:
    """Check Home Assistant, its pipeline and the programs; nothing without an access token.

    Args:
        settings: of the installation.
    """
    assist = settings.assist
    if assist.token_file is None:
        return
    from listener.assist.build import build_address, build_wyoming  # noqa: PLC0415 - loads websockets

    try:
        address = build_address(assist)
    except EarmarkError as error:
        yield _HOME_ASSISTANT.fail_with(error)
        return
    yield _check_link(assist.url)
    yield from _check_home_assistant(address, assist)
    if assist.recogniser == "wyoming":
        try:
            build_wyoming(assist).describe()
        except EarmarkError as error:
            yield Check("wyoming").fail_with(error)
        else:
            yield Check("wyoming").ok("the Wyoming server offers speech to text")
    if assist.voice in {"auto", "program"}:
        try:
            program = find_program(assist.language)[0]
        except EarmarkError as error:
            yield _SPEECH.warn(str(error), error.hint)
        else:
            yield _SPEECH.ok(f"replies are spoken by {program}")


def check_assist_files(
    settings: Config, ask: Callable[[str], Mapping[str, str]] = systemd.show_unit
) -> Iterator[Finding]:
    """Check the key, the roster, the service, and what is built in; nothing without assist here.

    Nothing is created.

    Args:
        settings: of the installation.
        ask: returns the properties of a unit.
    """
    assist, home = settings.assist, Path(settings.home)
    is_built_in = "built-in" in {assist.recogniser, assist.agent}
    key = home / ASSIST_KEY
    if not (key.exists() or assist.token_file is not None or is_built_in):
        return
    yield _check_key(home, key)
    yield _check_roster(Path(assist.roster_folder or settings.home))
    unit = ask(systemd.ASSIST)
    if systemd.is_loaded(unit):
        if systemd.is_running(unit):
            yield _SERVICE.ok("assist runs")
        else:
            yield _SERVICE.warn(
                "assist does not run, so no speaker is answered",
                f"systemctl enable --now earmark-assist; journalctl -u {systemd.ASSIST}",
            )
    if assist.recogniser == "built-in":
        yield _check_model(home)
    if is_built_in:
        yield _check_home_file(assist)


def _check_key(home: Path, key: Path) -> Finding:
    if not key.exists():
        return _KEY.warn(
            "there is no service key yet, so no owner can allow this assist",
            "start assist, or run earmark assist key",
        )
    try:
        return _KEY.ok(f"the service key is {keys.device_id(Home(home).assist_key().public_key())}")
    except EarmarkError as error:
        return _KEY.fail_with(error)


def _check_roster(folder: Path) -> Finding:
    try:
        roster = Home(folder).roster()
    except EarmarkError as error:
        return _ROSTER.fail_with(error)
    speakers = len(roster.device_keys())
    owners = sum(1 for owner in roster.owners if owner.active)
    if not speakers or not owners:
        return _ROSTER.warn(
            f"the roster in {folder} has {quantity(speakers, 'speaker')} and"
            f" {quantity(owners, 'owner')},"
            " so no ask is answered",
            "check assist.roster_folder, and that earmark-archive has run",
        )
    return _ROSTER.ok(
        f"the roster has {quantity(speakers, 'speaker')} and {quantity(owners, 'owner')}"
    )


def _check_model(home: Path) -> Finding:
    from listener.assist.understanding import model_files  # noqa: PLC0415 - for a hub alone

    folder = model_files.model_folder(home)
    try:
        for name in model_files.FILES:
            model_files.read_model_file(folder, name)
    except EarmarkError as error:
        return _MODEL.fail_with(error)
    return _MODEL.ok("the speech model is complete")


def _check_home_file(assist: AssistSettings) -> Finding:
    from listener.assist.understanding.assembly import read_home_text  # noqa: PLC0415 - loads hassil
    from listener.assist.understanding.sentences import HomeSentences  # noqa: PLC0415 - loads hassil

    if assist.home_file is None:
        return _HOME_FILE.fail("assist.home_file is not set", "write one: home.example.toml")
    try:
        home = parse_home_file(read_home_text(Path(assist.home_file)), assist.home_file)
        HomeSentences(home)
    except EarmarkError as error:
        return _HOME_FILE.fail_with(error)
    return _HOME_FILE.ok(f"the home file has {quantity(len(home.things), 'thing')}")


def _check_link(url: str) -> Finding:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return _LINK.ok("Home Assistant is reached by https")
    if _is_loopback(parts.hostname or ""):
        return _LINK.ok("Home Assistant is reached on this computer")
    return _LINK.warn(
        "commands and the access token go to Home Assistant without encryption",
        "set assist.url to an https address, or run assist on Home Assistant's computer",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_home_assistant(
    address: "HomeAssistantAddress", assist: AssistSettings
) -> Iterator[Finding]:
    from listener.assist.home_assistant import (  # noqa: PLC0415 - loads websockets
        HomeAssistantSession,
        find_pipeline,
        may_mix_rooms,
    )

    try:
        with HomeAssistantSession(address) as session:
            yield _check_version(session.version, mixes=may_mix_rooms(session.version))
            pipeline = find_pipeline(session, assist.pipeline)
    except EarmarkError as error:
        yield _HOME_ASSISTANT.fail_with(error)
        return
    if assist.recogniser == "home-assistant" and not pipeline.stt_engine:
        yield _PIPELINE.fail(
            f"the pipeline {pipeline.name} has no speech to text",
            "choose an engine in Home Assistant, or set assist.recogniser",
        )
    elif assist.voice == "home-assistant" and not pipeline.tts_engine:
        yield _PIPELINE.warn(
            f"the pipeline {pipeline.name} has no text to speech",
            "choose an engine in Home Assistant, or set assist.voice",
        )
    else:
        yield _PIPELINE.ok(f"the pipeline {pipeline.name} can be used")


def _check_version(version: str, *, mixes: bool) -> Finding:
    if mixes:
        return _HOME_ASSISTANT.warn(
            f"Home Assistant {version} may carry a command out in another speaker's room",
            "update Home Assistant to 2026.11 or later, or name the room in each command",
            version=version,
        )
    return _HOME_ASSISTANT.ok(f"Home Assistant {version} accepts the token", version=version)
