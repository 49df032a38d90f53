"""``earmark config``: each value in force, and where it comes from."""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from listener import config
from listener.cli.main import ONLY, find_config, with_examples
from listener.config import Config, Settings, parse_toml
from listener.errors import UsageError
from listener.storage.atomic import read_plain_file


@dataclass(frozen=True, slots=True)
class ConfiguredValue:
    """One key of the configuration."""

    key: str
    value: Any
    origin: str
    """Path of the file, ``default``, an option or an environment variable."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark config``."""
    parser.set_defaults(hub=ONLY)
    parser.epilog = with_examples(
        "On a computer that is only a hub, the configuration is the archive's file,\n"
        "/etc/earmark/archive.toml; --config names another.\n\n"
        "Files that hold secrets are shown by their paths, never by their content. Options of a\n"
        "command, such as earmark hear --word, come before these values.",
        "earmark config",
        "earmark config --changed",
        "earmark config wake --json",
    )
    parser.add_argument(
        "keys", nargs="*", metavar="KEY", help="only these keys or sections, such as wake.words"
    )
    parser.add_argument(
        "--changed", action="store_true", help="only the values that are not the default"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Print the values; the caller has parsed and checked the file.

    Raises:
        UsageError: there is no such key or section.
    """
    path = find_config(arguments)
    raw = _read(path)
    values = [
        ConfiguredValue("home", settings.home, _origin_of_home(arguments, raw, path)),
        *_values(settings, raw, str(path)),
    ]
    chosen = [one for one in values if _is_chosen(one.key, arguments.keys)]
    for key in arguments.keys:
        if not any(_is_chosen(one.key, [key]) for one in values):
            raise UsageError(f"there is no key or section {key}", "list them: earmark config")
    if arguments.changed:
        chosen = [one for one in chosen if one.origin != "default"]
    if arguments.json:
        for one in chosen:
            print(json.dumps({"key": one.key, "value": one.value, "origin": one.origin}))
        return 0
    texts = [f"{one.key} = {_as_toml(one.value)}" for one in chosen]
    width = min(60, max(map(len, texts), default=0))
    for text, one in zip(texts, chosen, strict=True):
        print(f"{text:<{width}}  {one.origin}")
    if not chosen:
        print("every value is the default")
    return 0


def _values(settings: Config, raw: dict[str, Any], path: str) -> Iterator[ConfiguredValue]:
    for section in msgspec.structs.fields(Config):
        inner = getattr(settings, section.name)
        if not isinstance(inner, Settings):
            continue
        below = raw.get(section.name, {})
        for field in msgspec.structs.fields(inner):
            value = msgspec.to_builtins(getattr(inner, field.name))
            origin = path if field.name in below else "default"
            yield ConfiguredValue(f"{section.name}.{field.name}", value, origin)


def _origin_of_home(arguments: argparse.Namespace, raw: dict[str, Any], path: Path) -> str:
    if arguments.home:
        return "--home"
    if raw.get("home"):
        return str(path)
    return "$EARMARK_HOME" if os.environ.get("EARMARK_HOME") else "default"


def _is_chosen(key: str, wanted: list[str]) -> bool:
    return not wanted or any(key == one or key.startswith(f"{one}.") for one in wanted)


def _as_toml(value: object) -> str:
    """Return a value as TOML; one that is not set, as a comment."""
    if value is None:
        return "# not set"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_as_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_plain_file(path, config.LIMIT_BYTES, follow_links=True).decode())
    except FileNotFoundError:
        return {}
