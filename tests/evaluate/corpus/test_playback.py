"""Items as they are played: from any phase, as long as they are."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.evaluate.corpus.items import Item, Label
from listener.evaluate.corpus.playback import PlayableItem, file_hash, list_phases, open_item

RATE = 16_000
NOISE = np.random.default_rng(5).integers(-9000, 9000, 3 * RATE, np.int16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "noise.wav", NOISE, RATE)
    return tmp_path / "noise.wav"


def heard(found: PlayableItem, phase: int = 0) -> Samples:
    return np.concatenate([np.zeros(0, np.int16), *found.play(phase)])


def test_item_gives_all_samples_of_its_file(path: Path) -> None:
    found = open_item(Item("a", path), 0)

    assert found.length_samples == len(NOISE)
    assert np.array_equal(heard(found), NOISE)


@pytest.mark.parametrize("phase", [1, 160, 1279])
def test_phase_skips_the_first_samples(path: Path, phase: int) -> None:
    assert np.array_equal(heard(open_item(Item("a", path), 0), phase), NOISE[phase:])


def test_item_can_be_a_segment_of_its_file(path: Path) -> None:
    found = open_item(Item("a", path, start_s=0.5, length_s=1.25), 0)

    assert np.array_equal(heard(found), NOISE[8_000:28_000])
    assert np.array_equal(heard(found, 100), NOISE[8_100:28_000])


def test_segment_past_the_end_of_the_file_is_shortened(path: Path) -> None:
    found = open_item(Item("a", path, start_s=1.0, length_s=2.05), 0)

    assert found.length_samples == 2 * RATE


@pytest.mark.parametrize(
    ("item", "kind", "why"),
    [
        ({"start_s": 2.99}, Unavailable, "less than one step"),
        ({"start_s": 3.5}, Unavailable, r"ends after 3\.00 s"),
        ({"length_s": 3.2}, UsageError, r"the segment ends at 3\.20 s"),
        ({"labels": (Label("x", 2.0, 3.2),)}, UsageError, r"the label x ends at 3\.20 s"),
        (
            {"labels": (Label("x", 0.5, 1.5),), "length_s": 1.0, "origin": "list line 7"},
            UsageError,
            "list line 7: the label x ends at",
        ),
    ],
)
def test_labels_and_segments_after_the_end_are_errors(
    path: Path, item: dict[str, Any], kind: type[EarmarkError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        open_item(Item("a", path, **item), 0)


def test_phases_are_evenly_spaced_over_a_step() -> None:
    assert list_phases(1) == (0,)
    assert list_phases(8) == tuple(range(0, 1280, 160))
    assert len(set(list_phases(1280))) == 1280


def test_file_hash_is_that_of_its_bytes(path: Path) -> None:
    assert file_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["absent.wav", "a\0b"])
def test_missing_file_has_no_hash(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unavailable, match="cannot read"):
        file_hash(tmp_path / name)


@pytest.mark.parametrize("suffix", ["wav", "ogg", "flac"])
def test_item_of_a_cut_file_is_not_played(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    soundfile.write(whole, NOISE, RATE)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with pytest.raises(Unavailable, match="is damaged"):
        heard(open_item(Item("a", cut), 0))
    with pytest.raises(Unavailable, match="is damaged"):
        heard(open_item(Item("a", cut, start_s=0.5, length_s=2.4), 0))


def test_segment_before_the_damage_is_played(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 44 + 2 * 30_000])

    found = open_item(Item("a", path, start_s=0.5, length_s=1.0), 0)

    assert np.array_equal(heard(found), NOISE[8_000:24_000])


@pytest.mark.parametrize("plays", [1, 4])
def test_codec_that_cannot_seek_is_played_from_each_phase(tmp_path: Path, plays: int) -> None:
    path = tmp_path / "phone.wav"
    soundfile.write(path, NOISE / 32768, RATE // 2, subtype="GSM610")
    found = open_item(Item("a", path), 0)
    whole = heard(found)

    for phase in list_phases(plays):
        assert abs(len(heard(found, phase)) - (len(whole) - phase)) <= 2
