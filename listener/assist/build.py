"""Recogniser, agent and voices of a configuration."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from listener.assist.home_assistant import (
    HomeAssistantAddress,
    HomeAssistantAgent,
    HomeAssistantRecogniser,
    HomeAssistantVoice,
)
from listener.assist.recogniser import Recogniser
from listener.assist.speech import ProgramVoice, SpeechEngine
from listener.assist.tokens import TokenFiles
from listener.assist.understanding.assembly import (
    build_home_agent,
    build_local_recogniser,
    build_timer_agent,
)
from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.assist.understanding.timer_agent import MatchingAgent, TimerAgent
from listener.assist.worker import Abilities
from listener.assist.wyoming import WyomingRecogniser
from listener.config import AssistSettings
from listener.errors import ConfigError, Unavailable
from listener.storage.atomic import check_regular_file
from listener.system.systemd import credential_path, with_credentials

_log = logging.getLogger(__name__)


def build_abilities(settings: AssistSettings, home: Path) -> Abilities:
    """Return what understands and speaks.

    Args:
        settings: the section ``assist``.
        home: data directory, which has the speech model of the built-in recogniser.

    Raises:
        ConfigError: a file of the configuration cannot be used.
        Unavailable: a package or the speech model is missing, for ``built-in``.
    """
    if settings.agent == "built-in":
        return _build_without_home_assistant(settings, home)
    address = build_address(settings)
    agent = HomeAssistantAgent(address, settings.pipeline, settings.language)
    timers = _timers(settings.language, agent)
    recogniser = _recogniser(settings, address, home)
    return Abilities(
        recogniser=recogniser,
        agent=timers or agent,
        voices=_voices(settings, address),
        announcements=timers,
        prepare=agent.prepare,
        release=agent.release,
        matcher=timers or agent,
        keep_ready=_keep_ready(recogniser),
    )


def build_address(settings: AssistSettings) -> HomeAssistantAddress:
    """Return the address of Home Assistant.

    Raises:
        ConfigError: a token or the certificate authority cannot be used.
    """
    files = with_credentials(settings, os.environ)
    owners = {
        owner: credential_path(path, os.environ)
        for owner, path in settings.owner_token_files.items()
    }
    tokens = TokenFiles(files.token_file, owners)
    tokens.check()
    if not settings.url.startswith("https:"):
        return HomeAssistantAddress(settings.url, tokens)
    try:
        if files.ca_file is not None:
            check_regular_file(Path(files.ca_file))
        tls = ssl.create_default_context(cafile=files.ca_file)
    except OSError as error:
        raise ConfigError(
            "cannot use the certificate authority of assist.url", "check assist.ca_file"
        ) from error
    return HomeAssistantAddress(settings.url, tokens, tls)


def build_wyoming(settings: AssistSettings) -> WyomingRecogniser:
    """Return the client of the Wyoming server."""
    return WyomingRecogniser(settings.wyoming_host, settings.wyoming_port, settings.language)


def _build_without_home_assistant(settings: AssistSettings, home: Path) -> Abilities:
    if settings.recogniser == "home-assistant" or settings.voice == "home-assistant":
        raise ConfigError(
            'assist.agent is "built-in"; assist.recogniser or assist.voice needs Home Assistant',
            'set assist.recogniser to "built-in" or "wyoming", and assist.voice to "program"',
        )
    recogniser: Recogniser
    if settings.recogniser == "wyoming":
        recogniser = build_wyoming(settings)
    else:
        recogniser = _build_local(settings, home)
    voices = () if settings.voice == "none" else (ProgramVoice(settings.language),)
    agent = build_home_agent(_home_file(settings))
    return Abilities(
        recogniser, agent, voices, agent, matcher=agent, keep_ready=_keep_ready(recogniser)
    )


def _timers(language: str, agent: MatchingAgent) -> TimerAgent | None:
    try:
        return build_timer_agent(language, agent)
    except (ConfigError, Unavailable) as error:
        _log.warning("there are no timers: %s", error)
        return None


def _build_local(settings: AssistSettings, home: Path) -> Recogniser:
    recogniser = build_local_recogniser(_home_file(settings), home)
    # Now, and not at the first command: it loads for some seconds.
    recogniser.start()
    return recogniser


def _keep_ready(recogniser: Recogniser) -> Callable[[], None] | None:
    return recogniser.keep_ready if isinstance(recogniser, LocalRecogniser) else None


def _home_file(settings: AssistSettings) -> Path:
    if settings.home_file is None:
        raise ConfigError("assist.home_file is missing", "set assist.home_file")
    return Path(settings.home_file)


def _recogniser(settings: AssistSettings, address: HomeAssistantAddress, home: Path) -> Recogniser:
    match settings.recogniser:
        case "built-in":
            return _build_local(settings, home)
        case "home-assistant":
            return HomeAssistantRecogniser(address, settings.pipeline)
        case "wyoming":
            return build_wyoming(settings)


def _voices(settings: AssistSettings, address: HomeAssistantAddress) -> tuple[SpeechEngine, ...]:
    home_assistant = HomeAssistantVoice(address, settings.pipeline)
    program = ProgramVoice(settings.language)
    match settings.voice:
        case "auto":
            return (home_assistant, program)
        case "home-assistant":
            return (home_assistant,)
        case "program":
            return (program,)
        case "none":
            return ()
