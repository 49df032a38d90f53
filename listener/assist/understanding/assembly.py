"""Recogniser and agent of a home file."""

from pathlib import Path

from listener.assist.recogniser import Agent
from listener.assist.understanding.home_agent import HomeAgent
from listener.assist.understanding.home_file import LIMIT_BYTES, HomeFile, parse_home_file
from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.assist.understanding.model_files import model_folder
from listener.assist.understanding.things_client import ThingsClient
from listener.assist.understanding.timer_agent import TimerAgent
from listener.errors import ConfigError
from listener.storage.atomic import read_plain_file
from listener.text_encoding import NotUtf8Error, decode_text


def read_home_text(path: Path) -> str:
    """Return the content of a home file, which has been checked.

    Raises:
        ConfigError: it cannot be read, or is invalid.
    """
    try:
        text = decode_text(read_plain_file(path, LIMIT_BYTES))
    except NotUtf8Error as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}", "check assist.home_file") from error
    parse_home_file(text, str(path))
    return text


def build_local_recogniser(path: Path, home: Path) -> LocalRecogniser:
    """Return the built-in recogniser; its process starts at the first clip or by ``start``.

    Args:
        path: the home file.
        home: data directory, which has the speech model.

    Raises:
        ConfigError: the home file cannot be used.
    """
    return LocalRecogniser(read_home_text(path), model_folder(home))


def build_timer_agent(language: str, other: Agent) -> TimerAgent:
    """Return an agent that keeps timers, and leaves everything else to another one.

    Args:
        language: of the commands.
        other: carries everything else out.

    Raises:
        ConfigError: there are no sentences in this language.
        Unavailable: the package with the sentences is not installed.
    """
    home = HomeFile(language=language)
    return TimerAgent(HomeAgent(home, ThingsClient(home.broker)), other)


def build_home_agent(path: Path) -> HomeAgent:
    """Return the built-in agent.

    Args:
        path: the home file.

    Raises:
        ConfigError: the home file cannot be used.
        Unavailable: the package with the sentences is not installed.
    """
    home = parse_home_file(read_home_text(path), str(path))
    return HomeAgent(home, ThingsClient(home.broker))
