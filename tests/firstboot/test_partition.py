from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.firstboot.partition import CHALLENGE, NAME, RESULT, TAKEN, Partition


@pytest.fixture
def boot(tmp_path: Path) -> Partition:
    return Partition(tmp_path)


def test_file_is_read_under_both_names(boot: Partition) -> None:
    assert boot.read(100) is None
    (boot.folder / "earmark.toml.txt").write_bytes(b"hidden ending")
    assert boot.read(100) == ("earmark.toml.txt", b"hidden ending")
    (boot.folder / NAME).write_bytes(b"x" * 200)
    assert boot.read(100) == (NAME, b"x" * 101)


def test_applied_file_is_overwritten_in_place(boot: Partition) -> None:
    (boot.folder / NAME).write_bytes(b"line = secret")
    other = boot.folder / "the same clusters"
    other.hardlink_to(boot.folder / NAME)

    boot.mark_applied(NAME)
    boot.clear()

    assert other.read_bytes() == b"\n" * 13
    assert not (boot.folder / NAME).exists()
    assert not (boot.folder / TAKEN).exists()
    boot.clear()


def test_text_files_have_crlf_line_ends(boot: Partition) -> None:
    boot.write(RESULT, "a\nb\n")

    assert (boot.folder / RESULT).read_bytes() == b"a\r\nb\r\n"
    assert [path.name for path in boot.folder.iterdir()] == [RESULT]


def test_unchanged_file_is_not_written_again(boot: Partition) -> None:
    boot.write(RESULT, "a\n")
    before = (boot.folder / RESULT).stat().st_ino

    boot.write(RESULT, "a\n")

    assert (boot.folder / RESULT).stat().st_ino == before


def test_no_permissions_are_set_on_fat(boot: Partition) -> None:
    # FAT refuses a change of mode; what is written keeps what it is given.
    boot.write(CHALLENGE, "x\n")

    assert (boot.folder / CHALLENGE).stat().st_mode & 0o777 == 0o644
    boot.remove(CHALLENGE)
    boot.remove(CHALLENGE)


def test_missing_partition_is_unavailable(tmp_path: Path) -> None:
    boot = Partition(tmp_path / "nowhere")

    with pytest.raises(Unavailable, match="cannot use the boot partition"):
        boot.read(1)
    with pytest.raises(Unavailable, match="cannot use the boot partition"):
        boot.write(RESULT, "x")
    with pytest.raises(Unavailable, match="cannot use the boot partition"):
        boot.mark_applied(NAME)


@pytest.mark.parametrize(
    "name",
    [
        "earmark (1).toml",
        "earmark(2).TOML",
        "earmark-1.toml.txt",
        "earmark.toml.toml",
        "earmark.toml ",
        "earmark.toml.bak",
        "Copy of earmark.toml",
        "earmark - Kopie.toml",
        "earmark.txt",
        "earmark.conf",
        "earmark.tml",
        "earmarktoml",
        "my earmark file.toml",
    ],
)
def test_almost_right_name_is_found(boot: Partition, name: str) -> None:
    (boot.folder / name).write_bytes(b"[device]\n")

    assert boot.read(100) is None
    assert boot.other_names() == [name]


def test_other_files_of_a_card_are_not_for_the_speaker(boot: Partition) -> None:
    names = {RESULT, CHALLENGE, TAKEN, NAME, "earmark.new", "config.txt", "cmdline.txt", "ssh"}
    names |= {"earmark_1.0_arm64.deb", "._earmark.toml", ".earmark.toml.swp", "user-data"}
    for name in names:
        (boot.folder / name).write_bytes(b"")
    (boot.folder / "earmark-toml").mkdir()

    assert boot.other_names() == []
