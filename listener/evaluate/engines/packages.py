"""Packages of other engines: extras, which may not be there."""

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any, Final

from listener.errors import ConfigError

_HINT: Final = "pip install 'earmark[peers]' brings it"


def import_package(name: str) -> Any:  # noqa: ANN401 - neither engine ships types
    """Import a module.

    Raises:
        ConfigError: it, or what it needs itself, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name.partition('.')[0]} cannot be used: {error}", _HINT) from error


def find_package(name: str, called: str) -> Path:
    """Find where a package lies without importing it.

    Args:
        name: by which it is imported.
        called: by which it is installed.

    Raises:
        ConfigError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ConfigError(f"{called} is not installed", _HINT)
    return Path(found.origin).parent


def package_versions(*packages: str) -> tuple[tuple[str, str], ...]:
    """Return the versions of packages.

    Raises:
        ConfigError: one is not installed.
    """
    try:
        return tuple((name, importlib.metadata.version(name)) for name in packages)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed", _HINT) from error
