"""``earmark doctor``: the checks of voice control, on the computer that runs assist."""

import ipaddress
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from listener.config import AssistSettings, Config
from listener.errors import EarmarkError
from listener.system.findings import Check, Finding

if TYPE_CHECKING:
    from listener.assist.home_assistant import HomeAssistantAddress

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
    from listener.assist.speech import find_program  # noqa: PLC0415 - as above

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
