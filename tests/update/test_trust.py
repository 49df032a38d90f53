import pytest

from listener.errors import ConfigError
from listener.update.trust import release_keys
from tests.update.speaker import KEY, PINNED


def test_the_settings_keys_count() -> None:
    assert release_keys([PINNED])[0] == KEY.public_key()


def test_without_a_key_nothing_is_believed() -> None:
    with pytest.raises(ConfigError, match="no release key is pinned"):
        release_keys([])


def test_what_is_no_key_is_said() -> None:
    with pytest.raises(ConfigError, match="not a device's key"):
        release_keys(["ed25519:" + "A" * 44])
