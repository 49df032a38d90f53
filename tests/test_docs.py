"""Names of options, keys, files and targets in the documents exist."""

import argparse
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from listener.cli import main
from listener.cli.main import add_common
from listener.config import Config

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "firmware").rglob("*.md"),
        *(ROOT / "models").rglob("*.md"),
    ]
)
EVERYWHERE = {"--help", "--version"}
SETTINGS = {
    section.name: {field.name for field in msgspec.structs.fields(section.type)}
    for section in msgspec.structs.fields(Config)
    if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)
}
ENDINGS = {"conf", "earmark", "json", "key", "lock", "md", "pub", "py", "sock", "sqlite", "toml"}
"""What follows a dot in the name of a file."""

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option that a parser takes, and its actions' parsers."""
    for action in parser._actions:  # noqa: SLF001 - argparse tells it nowhere else
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from options(below)


def options_of(verb: str) -> set[str]:
    parser = argparse.ArgumentParser()
    add_common(parser)
    importlib.import_module(main.COMMANDS[verb][0]).add_arguments(parser)
    return {*options(parser), *EVERYWHERE}


@documents
def test_every_option_of_a_command_is_there(path: Path) -> None:
    known: dict[str, set[str]] = {}
    for verb, words in re.findall(r"\bearmark ([a-z-]+)( [^`|;#&\n]*)", path.read_text("utf-8")):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", words))
        if verb in main.COMMANDS and named:
            taken = known.setdefault(verb, set()) or options_of(verb)
            known[verb] = taken
            assert named <= taken, f"earmark {verb}"


@documents
def test_every_setting_is_there(path: Path) -> None:
    for section, name in re.findall(
        r"`([a-z_]+)\.([a-z_]+)(?: ?=[^`]*)?`", path.read_text("utf-8")
    ):
        if section in SETTINGS and name not in ENDINGS:
            assert name in SETTINGS[section], f"{section}.{name}"


@documents
def test_every_file_is_there(path: Path) -> None:
    text = path.read_text("utf-8")
    folders = "benchmarks|docs|firmware|listener|models|systemd|tests"
    named = [ROOT / name for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text)]
    named += [path.parent / name for name in re.findall(r"\]\(([^)#:]+)\)", text)]

    assert [str(file) for file in named if not file.exists()] == []


@documents
def test_every_target_of_make_is_there(path: Path) -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )

    assert set(re.findall(r"`make ([a-z0-9-]+)", path.read_text("utf-8"))) <= targets


@documents
def test_no_diagram_needs_a_script_from_elsewhere(path: Path) -> None:
    assert "```mermaid" not in path.read_text("utf-8"), "the site would load it from a CDN"


def test_the_architectures_layers_are_the_contracts() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    told = text.partition("## Layers")[2].split("```")[1].strip().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]["layers"]

    without_notes = [re.sub(r"\s+\(.*", "", line) for line in told]
    assert [set(line.split(" | ")) for line in ["__main__", *without_notes]] == [
        set(line.split(" | ")) for line in contract
    ]


def test_the_architectures_tree_has_every_module() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    tree = text.partition("## The tree")[2].partition("## Layers")[0]

    told = {
        Path(name).name.removesuffix(".py") for name in re.findall(r"`listener/([\w./]+)`", tree)
    }
    there = {
        path.stem
        for path in (ROOT / "listener").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or path.is_dir())
    }
    assert told == there
