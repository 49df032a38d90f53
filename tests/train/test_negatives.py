"""The shipped negatives: licences, halves, size, and the numbers that a head gets of them."""

import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.train.negatives import decode, encode, fit_scale, hours, load_negatives
from listener.wakeword.embedding import FEATURES

FOLDER = Path(__file__).parents[2] / "models" / "negatives"
SOURCES = tomllib.loads((FOLDER / "sources.toml").read_text("utf-8"))
FREE = re.compile(r"CC0|CC BY( [0-9.]+)?( \(AMI\), repo MIT)?|Apache-2\.0|public domain.*")


def test_every_source_is_free_to_redistribute() -> None:
    refused = [each["name"] for each in SOURCES["sources"] if not FREE.fullmatch(each["licence"])]

    assert refused == []
    assert all(len(each["sha256"]) == 64 and each["origin"] for each in SOURCES["sources"])


def test_no_source_and_no_clip_is_in_both_halves() -> None:
    halves: dict[str, set[str]] = {"train": set(), "threshold": set()}
    for each in SOURCES["sources"]:
        halves[each["half"]] |= {each["name"], *each.get("clips", ())}
    both = halves["train"] & halves["threshold"]
    trained = {each["source"] for part in ("train", "augmented") for each in SOURCES[part]}

    assert both == set()
    assert trained & {each["source"] for each in SOURCES["threshold"]} == set()


def test_no_speaker_of_librispeech_is_in_both_halves() -> None:
    speakers: dict[str, set[str]] = {"train": set(), "threshold": set()}
    for each in SOURCES["sources"]:
        if match := re.search(r"librispeech/(?:ls_)?(\d+)", each["name"]):
            speakers[each["half"]].add(match[1])

    assert speakers["train"]
    assert speakers["threshold"]
    assert speakers["train"] & speakers["threshold"] == set()


def test_nothing_positive_is_listed() -> None:
    assert not any("positive" in each["name"] for each in SOURCES["sources"])


def test_halves_are_equal_and_the_files_small() -> None:
    negatives = load_negatives()
    train, threshold = hours(negatives.train), hours(negatives.threshold)
    size = sum(file.stat().st_size for file in FOLDER.iterdir() if file.suffix != ".py")

    assert train > 1
    assert threshold > 1
    assert abs(train - threshold) < 0.05
    assert size <= 10 << 20


@pytest.mark.parametrize("damage", ["missing", "changed", "listing"])
def test_damaged_negatives_are_refused(damage: str, tmp_path: Path) -> None:
    place = tmp_path / "negatives"
    shutil.copytree(FOLDER, place, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    if damage == "missing":
        (place / "train.npy").unlink()
    elif damage == "changed":
        data = bytearray((place / "train.npy").read_bytes())
        data[-1] ^= 1
        (place / "train.npy").write_bytes(data)
    else:
        text = (place / "sources.toml").read_text("utf-8")
        (place / "sources.toml").write_text(text.replace("steps = ", "steps = 1", 1), "utf-8")

    with pytest.raises(ConfigError, match="missing or damaged"):
        load_negatives(place)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_codes_lose_at_most_half_a_step(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    embeddings = (random.standard_normal((300, FEATURES)) * spread + 3).astype(np.float32)
    scale = fit_scale(embeddings)

    error = np.abs(decode(encode(embeddings, scale), scale) - embeddings)

    assert (error <= scale[1] * 0.51 + 1e-4).mean() > 0.999
