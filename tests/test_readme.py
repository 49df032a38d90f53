"""What the documents say is what the commands print."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from benchmarks import report
from benchmarks.readme import demo_block, help_block, steady
from listener import config
from listener.notices import Tally
from listener.spool.ledger import Counts

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
MARKDOWN = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "models").rglob("*.md"),
]
GENERATED = ("bench", "demo", "help")
QUANTITY = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) (s|ms|days?|MiB|kB|%|MB)\b")


def prose() -> str:
    """The README without what programs wrote into it."""
    text = README
    for name in GENERATED:
        text = report.splice(text, name, "")
    return text


def defaults() -> set[str]:
    """Each setting with a unit, as prose would spell its default; and the length of a frame."""
    settings = msgspec.to_builtins(config.Config())
    found = {"80 ms"}
    for section in settings.values():
        if isinstance(section, dict):
            for key, value in section.items():
                unit = key.rpartition("_")[2]
                if unit in ("s", "ms", "days") and isinstance(value, int | float):
                    found.add(f"{value:g} {unit}")
    return found


def test_the_figures_are_those_of_the_last_run() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))

    assert report.between(README, "bench") == report.render(results).strip(), (
        "python -m benchmarks --render brings the table up to date"
    )


def test_the_help_is_what_earmark_prints() -> None:
    assert report.between(README, "help") == help_block(), (
        "python -m benchmarks --render brings the help up to date"
    )


@pytest.mark.system
def test_the_transcript_is_what_the_demo_prints() -> None:
    transcript = report.between(README, "demo")

    assert steady(transcript) == steady(demo_block()), (
        "python -m benchmarks --render brings the transcript up to date"
    )
    assert README.index("<!-- demo:begin -->") < README.index("\n## ")


def test_every_quantity_in_the_prose_is_a_default_of_the_settings() -> None:
    stated = {f"{number} {unit}" for number, unit in QUANTITY.findall(prose())}

    assert stated <= defaults()


@pytest.mark.parametrize("name", GENERATED)
def test_every_generated_block_has_its_markers_once(name: str) -> None:
    assert README.count(f"<!-- {name}:begin -->") == 1
    assert README.count(f"<!-- {name}:end -->") == 1


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)

    local = [link.partition("#")[0] for link in links if "://" not in link]

    assert [link for link in local if link and not (file.parent / link).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")

    records = sorted(file.name for file in folder.glob("[0-9]*.md"))

    assert [name for name in records if f"({name})" not in index] == []


def test_every_test_that_the_threats_name_exists() -> None:
    text = (ROOT / "docs" / "explanation" / "threats.md").read_text("utf-8")

    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)

    assert named
    for file, function in named:
        assert (ROOT / file).is_file(), file
        if function:
            assert f"def {function}(" in (ROOT / file).read_text("utf-8"), function


def test_every_counter_is_explained() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")

    counters = {*Tally.__struct_fields__, *Counts.__struct_fields__} - {"v", "device"}

    assert [name for name in counters if f"| `{name}` |" not in text] == []


def test_the_layers_in_the_architecture_are_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")

    drawn = text.partition("## Layers")[2].split("```")[1].strip().splitlines()

    assert [re.sub(r"  +\(.*\)$", "", line) for line in drawn] == layers[1:]


def test_the_changelog_has_the_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "listener", "--version"], capture_output=True, text=True, check=True
    )
    version = done.stdout.split()[-1]

    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
