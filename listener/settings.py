"""A file of settings, read: TOML in, ``Config`` out; what is wrong is said by its key. Pure."""

import difflib
import tomllib
from typing import Any, Final, TypeAlias

import msgspec

from listener.config import Config, Settings
from listener.errors import ConfigError

_DAY_S: Final = 86_400
_Path: TypeAlias = tuple[str, ...]


def parse_settings(text: str, source: str) -> Config:
    """Read a configuration.

    Args:
        text: TOML.
        source: where it came from, for messages.

    Raises:
        ConfigError: not TOML, an unknown key (the hint names the nearest right one), a value out
            of its range, or settings that contradict each other.
    """
    try:
        raw = tomllib.loads(text)
        stray = _find_unknown_key(raw, Config, ())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        # Python's own limits: digits of a number, depth of brackets.
        raise ConfigError(f"{source} has a number too long or brackets too deep") from error
    if stray is not None:
        raise ConfigError(f"{source}: there is no setting {'.'.join(stray)}", _suggest_key(stray))
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$.")
        where = f"{path.rstrip('`')}: " if path else ""
        hint = "docs/reference/earmark.example.toml lists each setting with its range"
        if "{1,32}" in expected:
            expected, hint = (
                "not a short name",
                "short names are 1 to 32 of a-z, 0-9 and the hyphen",
            )
        raise ConfigError(f"{source}: {where}{expected[0].lower()}{expected[1:]}", hint) from error
    _check_consistency(config, source)
    return config


def _check_consistency(config: Config, source: str) -> None:
    """Refuse settings that are each in range and make no sense together."""
    if config.clip.pre_roll_s > config.clip.ring_s:
        raise ConfigError(
            f"{source}: clip.pre_roll_s is longer than clip.ring_s",
            "sound older than the ring no longer exists; shorten the one or lengthen the other",
        )
    if config.mute.switch == "gpio" and config.mute.line is None:
        raise ConfigError(
            f"{source}: mute.switch is gpio, and there is no mute.line",
            "mute.line is the line's offset on mute.chip, such as 27, or its name",
        )
    if config.lamp.kind == "gpio" and config.lamp.line is None:
        raise ConfigError(
            f"{source}: lamp.kind is gpio, and there is no lamp.line",
            "lamp.line is the line's offset on lamp.chip, such as 12, or its name",
        )
    if config.chime.on_wake and config.clip.pre_roll_s > 0:
        raise ConfigError(
            f"{source}: chime.on_wake needs clip.pre_roll_s = 0",
            "no clip spans the chime: it begins after it, so there is nothing before the wake",
        )
    if len(set(config.wake.words)) < len(config.wake.words):
        raise ConfigError(f"{source}: wake.words names a model twice", "once is enough")
    idle = config.wake.thresholds.keys() - set(config.wake.words)
    if idle:
        raise ConfigError(
            f"{source}: wake.thresholds has {min(idle)}, which wake.words does not",
            f"wake.words are {', '.join(config.wake.words)}",
        )
    for name, section in (("broker", config.broker), ("archive", config.archive)):
        if (section.certificate_file is None) != (section.key_file is None):
            raise ConfigError(
                f"{source}: {name}.certificate_file and {name}.key_file belong together",
                "give both, or neither",
            )
    if config.spool.oldest_s > config.clip.keep_days * _DAY_S:
        raise ConfigError(
            f"{source}: spool.oldest_s is longer than clip.keep_days",
            "a clip would wait in the spool for longer than it may be kept anywhere",
        )


def _find_unknown_key(raw: dict[str, Any], section: type[Settings], path: _Path) -> _Path | None:
    """Return the path of the first key that no section knows."""
    for key, value in raw.items():
        if key not in section.__struct_fields__:
            return (*path, key)
        inner = _sections(section).get(key)
        found = (
            _find_unknown_key(value, inner, (*path, key))
            if inner and isinstance(value, dict)
            else None
        )
        if found:
            return found
    return None


def _suggest_key(stray: _Path) -> str:
    """Name the right key that the reader most likely meant."""
    *path, key = stray
    known: list[_Path] = [(name,) for name in Config.__struct_fields__]
    for name, inner in _sections(Config).items():
        known += [(name, field) for field in inner.__struct_fields__]
    # The right key in the wrong section is as common a slip as a misspelt one.
    same = [right for right in known if right[-1] == key]
    if same:
        return f"did you mean {'.'.join(same[0])}?"
    siblings = {right[-1]: right for right in known if list(right[:-1]) == path}
    everywhere = {right[-1]: right for right in known}
    for candidates, cutoff in ((siblings, 0.75), (everywhere, 0.75), (siblings, 0.6)):
        near = difflib.get_close_matches(key, candidates, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {'.'.join(candidates[near[0]])}?"
    return f"the keys here are {', '.join(siblings)}"


def _sections(parent: type[Settings]) -> dict[str, type[Settings]]:
    """Return the fields of ``parent`` that are sections of their own."""
    return {
        name: kind
        for name, kind in parent.__annotations__.items()
        if isinstance(kind, type) and issubclass(kind, Settings)
    }
