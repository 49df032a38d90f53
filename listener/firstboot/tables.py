"""TOML out of dictionaries, and one over another. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from listener.errors import ConfigError

Table = Mapping[str, Any]

_SCALARS: Final = (bool, int, float, str)
_REFUSED: Final = "there is a date, or a table in a list, where no setting is one"


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
    _check(table)
    return tomli_w.dumps(table)


def _check(value: object) -> None:
    """Refuse what TOML can say and no setting holds."""
    if isinstance(value, Mapping):
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Mapping):
                raise ConfigError(_REFUSED)
            _check(item)
    elif not isinstance(value, _SCALARS):
        raise ConfigError(_REFUSED)
