"""TOML out of dictionaries, and one over another. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from listener.errors import ConfigError

Table = Mapping[str, Any]

_SCALARS: Final = (bool, int, float, str)
_REFUSED: Final = "there is a date, or a table in a list, where no setting is one"


def merge(below: Table, above: Table) -> dict[str, Any]:
    """Return ``below`` with every value that ``above`` has in its place, table by table."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both and isinstance(old, Mapping) else value
    return merged


def render(table: Table) -> str:
    """Write a table as TOML that reads as the same table.

    Raises:
        ConfigError: it holds what no setting is: a date, or a table in a list.
    """
    _check(table)
    return tomli_w.dumps(table)


def _check(value: object) -> None:
    """Refuse what TOML can say and no setting holds."""
    if isinstance(value, Mapping):
        for one in value.values():
            _check(one)
    elif isinstance(value, list | tuple):
        for one in value:
            if isinstance(one, Mapping):
                raise ConfigError(_REFUSED)
            _check(one)
    elif not isinstance(value, _SCALARS):
        raise ConfigError(_REFUSED)
