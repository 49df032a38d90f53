import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.image import stages

GIVEN = {"MIRROR": "http://deb.debian.org/debian", "SOURCE_DATE_EPOCH": "1"}
WORDS = ["--dpkgopt=path-exclude=/usr/lib/modules/*/kernel/drivers/gpu/*"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "packages"
    path.write_text("udev\n")
    return path


def test_stage_with_the_same_inputs_is_kept(tmp_path: Path, source: Path) -> None:
    made = tmp_path / "rootfs.tar"
    assert stages.is_stale(made, [source], GIVEN, WORDS)
    made.touch()
    stages.mark(made, [source], GIVEN, WORDS)

    assert not stages.is_stale(made, [source], GIVEN, WORDS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (GIVEN, []),
        (GIVEN, [*WORDS, "--dpkgopt=path-exclude=/usr/lib/modules/*/kernel/drivers/media/*"]),
        (GIVEN | {"MIRROR": "http://snapshot.debian.org/archive/debian/20261122T000000Z"}, WORDS),
        (GIVEN | {"SOURCE_DATE_EPOCH": "2"}, WORDS),
    ],
    ids=["nothing pruned", "more pruned", "another mirror", "another time"],
)
def test_stage_with_a_changed_argument_is_stale(
    tmp_path: Path, source: Path, given: dict[str, str], words: list[str]
) -> None:
    made = tmp_path / "rootfs.tar"
    made.touch()
    stages.mark(made, [source], GIVEN, WORDS)

    assert stages.is_stale(made, [source], given, words)


def test_stage_with_an_added_package_is_stale(tmp_path: Path, source: Path) -> None:
    made = tmp_path / "rootfs.tar"
    made.touch()
    stages.mark(made, [source], GIVEN)

    source.write_text("udev\nkmod\n")

    assert stages.is_stale(made, [source], GIVEN)


def test_unmarked_stage_is_stale(tmp_path: Path, source: Path) -> None:
    made = tmp_path / "rootfs.tar"
    made.touch()
    stages.mark(made, [source], GIVEN)

    stages.forget(made)
    stages.forget(made)

    assert stages.is_stale(made, [source], GIVEN)


def test_snapshot_timestamp_is_accepted() -> None:
    assert stages.snapshot("20261122T000000Z") == "20261122T000000Z"


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "20261122", "20261122T000000", "20261322T000000Z", "20260230T000000Z"],
)
def test_other_timestamp_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="20261122T000000Z"):
        stages.snapshot(text)


@given(st.text(max_size=20))
def test_timestamp_cannot_change_the_rest_of_the_address(text: str) -> None:
    try:
        moment = stages.snapshot(text)
    except argparse.ArgumentTypeError:
        return
    assert moment.isascii()
    assert moment.isalnum()
