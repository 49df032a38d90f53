"""TOML out of dictionaries, and one over another. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from listener.errors import ConfigError

Table = Mapping[str, Any]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_DEL: Final = "\x7f"


def merge_tables(below: Table, above: Table) -> dict[str, Any]:
    """Return ``below`` with every value that ``above`` has in its place, table by table."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_tables(old, value) if both and isinstance(old, Mapping) else value
    return merged


def render_toml(table: Table) -> str:
    """Write a table as TOML that reads as the same table.

    Raises:
        ConfigError: it holds what no setting is: a date, or a table in a list.
    """
    lines: list[str] = []
    _render_table(table, "", lines)
    return "\n".join(lines).strip("\n") + "\n" if lines else ""


def _render_table(table: Table, path: str, lines: list[str]) -> None:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = f"{path}.{_toml_key(key)}" if path else _toml_key(key)
            lines += ["", f"[{inner}]"]
            _render_table(value, inner, lines)


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _toml_text(key)


def _toml_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _toml_text(value)
        case list() | tuple():
            return f"[{', '.join(_toml_value(one) for one in value)}]"
        case _:
            raise ConfigError("there is a date, or a table in a list, where no setting is one")


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace(_DEL, "\\u007f")
