"""Nothing is asked in the clear, or of an archive that nobody vouches for."""

from pathlib import Path

import pytest

from listener.clips.address import parse_address
from listener.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    "text",
    ["http://home.lan", "home.lan", "https://", "https://h:99999", "https://h/path", "https://[x"],
)
def test_what_is_no_address_or_in_the_clear_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no address"):
        parse_address(text, tmp_path / "ca.crt")


def test_an_authority_is_needed_and_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")

    with pytest.raises(UsageError, match="nothing here says"):
        parse_address("https://home.lan:8883", None)
    for name in ("ca.crt", "nowhere"):
        with pytest.raises(ConfigError, match="cannot use the authority"):
            parse_address("https://home.lan:8883", tmp_path / name)
