"""Generated parts of the README and the documents equal their source."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from benchmarks import report
from benchmarks.readme import BLOCKS, demo_block, has_model, help_block, steady
from benchmarks.readme import README as README_FILE
from listener import config
from listener.ipc.notices import Tally
from listener.spool.ledger import Counts
from tests import named_tests

if TYPE_CHECKING:
    from tests.conftest import DemoRun

ROOT = Path(__file__).resolve().parents[1]
README = README_FILE.read_text("utf-8")
QUANTITY = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) (s|ms|days?|MiB|kB|%|MB)\b")


def block(name: str) -> str:
    """The text of a generated block in its document."""
    return report.between(BLOCKS[name].read_text("utf-8"), name)


def prose() -> str:
    """The README without its generated blocks."""
    text = README
    for name, file in BLOCKS.items():
        if file == README_FILE:
            text = report.splice(text, name, "")
    return text


def defaults() -> set[str]:
    """Each default that has a unit, as prose spells it, and the length of a frame."""
    values = msgspec.to_builtins(config.Config())
    quantities = {"80 ms"}
    for section in values.values():
        if isinstance(section, dict):
            for key, value in section.items():
                unit = key.rpartition("_")[2]
                if unit in ("s", "ms", "days") and isinstance(value, int | float):
                    quantities.add(f"{value:g} {unit}")
    return quantities


def test_figures_equal_the_results_of_the_last_run() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))

    assert block("bench") == report.render(results).strip(), (
        "python -m benchmarks --render brings the table up to date"
    )
    assert block("figures") == report.headline(results).strip(), (
        "python -m benchmarks --render brings the README's table up to date"
    )


def test_readme_has_eight_figures_of_the_full_table() -> None:
    rows = [line for line in block("figures").splitlines() if line.startswith("| ")][1:]

    assert len(rows) == 8
    assert all(row in block("bench").splitlines() for row in rows)


def test_help_text_is_what_earmark_prints() -> None:
    assert block("help") == help_block(), "python -m benchmarks --render brings it up to date"


@pytest.mark.system
@pytest.mark.timeout(600)
def test_transcript_is_what_the_demo_prints(demo_run: "DemoRun") -> None:
    transcript, without_model = steady(block("demo")), steady(demo_run.done.stdout)

    assert README.index("<!-- demo:begin -->") < README.index("\n## ")
    begin, _, _ = without_model.partition("\nlamp ")
    assert len(begin.splitlines()) > 20
    assert transcript.startswith(f"```\n$ make demo\n{begin}\n")


@pytest.mark.system
@pytest.mark.skipif(
    not has_model(), reason="the last part of the demo needs the speech model: run make demo"
)
def test_transcript_is_what_the_demo_prints_with_the_model() -> None:
    transcript, printed = steady(block("demo")), steady(demo_block())
    assert transcript == printed, "python -m benchmarks --render brings the transcript up to date"


def test_quantities_in_the_prose_are_configuration_defaults() -> None:
    stated = {f"{number} {unit}" for number, unit in QUANTITY.findall(prose())}

    assert stated <= defaults()


def test_generated_blocks_have_their_markers_once() -> None:
    for name, file in BLOCKS.items():
        text = file.read_text("utf-8")
        assert text.count(f"<!-- {name}:begin -->") == 1, f"{file}: {name}"
        assert text.count(f"<!-- {name}:end -->") == 1, f"{file}: {name}"
        assert block(name), f"{file}: {name}"


def test_index_has_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")

    records = sorted(file.name for file in folder.glob("[0-9]*.md"))

    assert [name for name in records if f"({name})" not in index] == []


def test_tests_named_by_the_threats_page_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "threats.md").read_text("utf-8")

    assert named_tests.named(text)
    assert named_tests.absent(text) == []


def test_events_page_explains_every_counter() -> None:
    text = (ROOT / "docs" / "reference" / "events.md").read_text("utf-8")

    counters = {*Tally.__struct_fields__, *Counts.__struct_fields__} - {"v", "device"}

    assert [name for name in counters if f"| `{name}` |" not in text] == []


def test_changelog_has_the_version() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "listener", "--version"], capture_output=True, text=True, check=True
    )
    version = process.stdout.split()[-1]

    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
