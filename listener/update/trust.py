"""Whose signature counts."""

from collections.abc import Sequence
from importlib import resources
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.envelope import keys
from listener.errors import ConfigError

FILE: Final = "release-keys.txt"


def release_keys(pinned: Sequence[str]) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys that may sign a release: those of the settings, and the program's own.

    Args:
        pinned: as the settings have them.

    Raises:
        ConfigError: one is no key, or there is none at all.
    """
    text = resources.files("listener.update").joinpath(FILE).read_text("utf-8")
    own = (line.strip() for line in text.splitlines())
    found = [*pinned, *(line for line in own if line and not line.startswith("#"))]
    if not found:
        raise ConfigError(
            "no release key is pinned, so no release can be believed",
            "update.keys in the settings takes the key of who makes your releases",
        )
    return tuple(keys.parse_device(text) for text in found)
