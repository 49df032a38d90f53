"""Names of files of voice control."""

from pathlib import Path

import pytest

from listener.ipc import voice_paths
from listener.ipc.voice_paths import CopyName

ASK = "0123456789abcdef" * 2


def test_name_of_a_copy_is_read_as_written() -> None:
    assert voice_paths.parse_copy_name(str(CopyName(ASK, 3))) == CopyName(ASK, 3)


@pytest.mark.parametrize(
    "name",
    [ASK, f"{ASK}.0", f"{ASK}.4", f"{ASK}.1\n", f".{ASK}.1.part", f"../{ASK}.1", f"{ASK[1:]}.1"],
)
def test_other_names_are_not_copies(name: str) -> None:
    assert voice_paths.parse_copy_name(name) is None


def test_name_of_a_reply_is_its_ask() -> None:
    assert voice_paths.is_reply_name(ASK)
    assert not voice_paths.is_reply_name(f"{ASK}.1")
    assert not voice_paths.is_reply_name(f"{ASK}\n")


def test_folder_is_systemds_or_below_the_home() -> None:
    home = Path("/home/x")

    assert voice_paths.find_folder(home, is_runtime=True) == Path("/run/earmark-voice")
    assert voice_paths.find_folder(home, is_runtime=False) == Path("/home/x/run/voice")
