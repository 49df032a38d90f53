"""What is said of our wake words is what was measured, and what would be measured today."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import rates
from benchmarks.report import between
from listener.evaluate.metrics.results import EventKind
from listener.evaluate.plan import ConditionSettings
from listener.wakeword.manifest import parse_manifest

RATES = json.loads(rates.KEPT.read_text("utf-8"))


def test_table_of_the_docs_has_the_measured_rates() -> None:
    docs = rates.DOCS.read_text("utf-8")

    assert between(docs, "rates") == rates.table(RATES), "make rates"


@pytest.mark.parametrize("name", rates.WORDS)
def test_manifest_and_card_have_the_measured_rates(name: str) -> None:
    for file, made in rates.quote_rates(name, RATES["words"][name]).items():
        assert file.read_text("utf-8") == made, "make rates"


@pytest.mark.parametrize("name", rates.WORDS)
def test_a_manifest_with_figures_is_still_a_manifest(name: str) -> None:
    text = (rates.MODELS / name / "manifest.toml").read_text("utf-8")

    manifest = parse_manifest(text, name)

    assert manifest.threshold == 0.5
    assert manifest.figures["development"]["hours"] == RATES["words"][name]["hours"]


def test_new_threshold_needs_a_supported_claim() -> None:
    word = {**RATES["words"]["alexa"], "aim": {**RATES["words"]["alexa"]["aim"], "carried": True}}
    text = (rates.MODELS / "alexa" / "manifest.toml").read_text("utf-8")

    carried = rates.manifest(text, word)

    assert f"\nthreshold = {word['aim']['threshold']:g}\n" in carried
    assert "which these hours support" in carried
    assert re.search(r"^threshold = 0\.5$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of both tests below, computed once."""
    return tmp_path_factory.mktemp("scores")


@pytest.mark.recordings
@pytest.mark.timeout(600)
def test_measured_today_the_rates_are_the_same(recordings: Path, cache: Path) -> None:
    assert rates.measure(recordings, cache) == RATES, "make rates"


@pytest.mark.recordings
@pytest.mark.timeout(600)
def test_with_a_second_opinion_alexa_is_missed_nowhere_and_wakes_by_few_isolated_words(
    recordings: Path, cache: Path
) -> None:
    (alexa,) = [word for word in rates.evaluate(recordings, cache).words if word.word == "alexa"]

    false = [event.item for event in alexa.events if event.kind is EventKind.FALSE_WAKE]

    assert (alexa.misses.count, alexa.misses.exposure) == (0, 100)
    assert alexa.false_wakes.count == len(false) <= 2
    assert all(item.startswith("negative/speech_commands/") for item in false)


@pytest.mark.recordings
@pytest.mark.timeout(600)
def test_with_a_second_opinion_alexa_is_missed_by_at_most_8_of_100_in_noise(
    recordings: Path, cache: Path
) -> None:
    noise = ConditionSettings(noise=str(recordings / "noise"), snr_db=10)

    (alexa,) = rates.evaluate(
        recordings, cache, words=("alexa",), only=("positive/alexa/*",), condition=noise
    ).words

    assert alexa.misses.exposure == 100
    assert alexa.misses.count <= 8
