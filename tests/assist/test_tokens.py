"""Access tokens from files."""

from pathlib import Path

import pytest

from listener.assist.tokens import TokenFiles
from listener.errors import ConfigError, Unavailable


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_owner_has_a_token_of_their_own_or_the_general_one(tmp_path: Path) -> None:
    tokens = TokenFiles(
        written(tmp_path / "all", "general\n"), {"ada": written(tmp_path / "ada", "of-ada")}
    )
    tokens.check()

    assert (tokens("ada"), tokens("bo"), tokens("")) == ("of-ada", "general", "general")


def test_byte_order_mark_is_not_a_part_of_the_token(tmp_path: Path) -> None:
    assert TokenFiles(written(tmp_path / "all", "\ufefftoken\r\n"), {})("") == "token"

    (tmp_path / "all").write_bytes("token".encode("utf-16"))
    with pytest.raises(ConfigError, match="it is UTF-16 text"):
        TokenFiles(str(tmp_path / "all"), {}).check()


def test_new_token_needs_no_restart(tmp_path: Path) -> None:
    tokens = TokenFiles(written(tmp_path / "all", "old"), {})
    written(tmp_path / "all", "new")

    assert tokens("") == "new"


@pytest.mark.parametrize(
    ("text", "mode"),
    [("x", 0o604), ("", 0o600), ("a\nb", 0o600), ("\xff", 0o600), ("x" * 5000, 0o600)],
)
def test_file_that_is_damaged_or_open_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    tokens = TokenFiles(written(tmp_path / "all", text, mode), {})

    with pytest.raises(ConfigError):
        tokens.check()
    with pytest.raises(Unavailable):
        tokens("ada")


def test_missing_token_is_refused(tmp_path: Path) -> None:
    for name in (None, str(tmp_path / "missing")):
        with pytest.raises(ConfigError):
            TokenFiles(name, {}).check()
