"""Reply keys: one for each ask, used once, and readable by hear."""

from pathlib import Path

import pyrage

from listener.ipc.voice_paths import REPLY_KEY
from listener.player.reply_keys import ReplyKeys

FIRST, SECOND = "1" * 32, "2" * 32


def laid(folder: Path) -> str:
    return (folder / REPLY_KEY).read_text("ascii").removesuffix("\n")


def test_key_of_an_ask_opens_once(tmp_path: Path) -> None:
    keys = ReplyKeys(tmp_path)
    public = laid(tmp_path)

    keys.bind(FIRST, public)
    secret = keys.take(FIRST)

    assert isinstance(secret, pyrage.x25519.Identity)
    assert str(secret.to_public()) == public
    assert keys.take(FIRST) is None
    assert laid(tmp_path) == keys.public != public


def test_key_that_two_asks_name_belongs_to_the_first(tmp_path: Path) -> None:
    keys = ReplyKeys(tmp_path)
    public = laid(tmp_path)

    keys.bind(FIRST, public)
    keys.bind(SECOND, public)

    assert keys.take(FIRST) is None
    assert keys.take(SECOND) is None


def test_unknown_key_binds_nothing(tmp_path: Path) -> None:
    keys = ReplyKeys(tmp_path)

    keys.bind(FIRST, str(pyrage.x25519.Identity.generate().to_public()))

    assert keys.take(FIRST) is None
    assert keys.public == laid(tmp_path), "the key that lies ready stays"


def test_mute_drops_the_key_of_the_ask(tmp_path: Path) -> None:
    keys = ReplyKeys(tmp_path)
    keys.bind(FIRST, laid(tmp_path))

    keys.drop()

    assert keys.take(FIRST) is None


def test_key_of_an_earlier_player_is_replaced(tmp_path: Path) -> None:
    (tmp_path / REPLY_KEY).write_text("age1old\n")

    assert ReplyKeys(tmp_path).public == laid(tmp_path)


def test_missing_folder_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    keys = ReplyKeys(folder)
    folder.mkdir()

    keys.lay_ready()

    assert laid(folder) == keys.public
    keys.close()
    assert not (folder / REPLY_KEY).exists()
