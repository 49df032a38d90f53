"""What is said of our wake words is what was measured, and what would be measured today."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import rates
from benchmarks.report import between
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


@pytest.mark.recordings
@pytest.mark.timeout(600)
def test_measured_today_the_rates_are_the_same(recordings: Path, tmp_path: Path) -> None:
    assert rates.measure(recordings, tmp_path) == RATES, "make rates"
