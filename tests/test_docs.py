"""Names of options, keys, files and targets in the documents exist."""

import argparse
import importlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

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
KEYS = {
    section.name: {field.name for field in msgspec.structs.fields(section.type)}
    for section in msgspec.structs.fields(Config)
    if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)
}
ENDINGS = {"conf", "earmark", "json", "key", "lock", "md", "pub", "py", "sock", "sqlite", "toml"}
"""File name extensions: `archive.toml` is a file and not a key."""


class Occurrence(NamedTuple):
    """A match of a pattern in a document, and its place as ``file:line``."""

    file: Path
    where: str
    match: re.Match[str]


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option of a parser and of its subparsers."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from options(below)


def options_of(verb: str) -> set[str]:
    parser = argparse.ArgumentParser()
    add_common(parser)
    importlib.import_module(main.COMMANDS[verb][0]).add_arguments(parser)
    return {*options(parser), *EVERYWHERE}


def occurrences(pattern: str, files: Iterable[Path] = DOCUMENTS) -> Iterator[Occurrence]:
    """Every match of a pattern in the documents, with its place as ``file:line``."""
    for file in files:
        text = file.read_text("utf-8")
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            yield Occurrence(file, f"{file.relative_to(ROOT)}:{line}", match)


def test_options_of_commands_exist() -> None:
    known = {verb: options_of(verb) for verb in main.COMMANDS}

    missing = [
        f"{where}: earmark {match[1]} {option}"
        for _, where, match in occurrences(r"\bearmark ([a-z-]+)( [^`|;#&\n]*)")
        if match[1] in known
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", match[2])
        if option not in known[match[1]]
    ]

    assert missing == []


def test_configuration_keys_exist() -> None:
    missing = [
        f"{where}: {match[1]}.{match[2]}"
        for _, where, match in occurrences(r"`([a-z_]+)\.([a-z_]+)(?: ?=[^`]*)?`")
        if match[1] in KEYS and match[2] not in ENDINGS and match[2] not in KEYS[match[1]]
    ]

    assert missing == []


def test_files_named_in_code_exist() -> None:
    folders = "benchmarks|docs|firmware|listener|models|systemd|tests"

    missing = [
        f"{where}: {match[1]}"
        for _, where, match in occurrences(rf"`((?:{folders})/[\w./-]+)`")
        if not (ROOT / match[1]).exists()
    ]

    assert missing == []


def test_links_outside_the_site_lead_to_a_file() -> None:
    """`mkdocs build --strict` checks the links between the pages of docs/ (test_site.py)."""
    outside = [file for file in DOCUMENTS if ROOT / "docs" not in file.parents]

    missing = [
        f"{where}: {match[1]}"
        for file, where, match in occurrences(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)", outside)
        if not (file.parent / match[1]).exists()
    ]

    assert missing == []


def test_targets_of_make_exist() -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )

    missing = [
        f"{where}: make {match[1]}"
        for _, where, match in occurrences(r"`make ([a-z0-9-]+)")
        if match[1] not in targets
    ]

    assert missing == []


def test_no_diagram_needs_a_script_from_another_host() -> None:
    """The site would load Mermaid from a content delivery network."""
    assert [where for _, where, _ in occurrences("```mermaid")] == []


def test_a_match_is_reported_with_its_file_and_line() -> None:
    first = next(occurrences(r"make unit", [ROOT / "CONTRIBUTING.md"]))

    number = int(first.where.removeprefix("CONTRIBUTING.md:"))
    assert "make unit" in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()[number - 1]


def test_layers_in_the_architecture_are_the_import_contract() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    drawn = text.partition("## Layers")[2].split("```")[1].strip().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]["layers"]

    without_notes = [re.sub(r"\s+\(.*", "", line) for line in drawn]
    assert [set(line.split(" | ")) for line in ["__main__", *without_notes]] == [
        set(line.split(" | ")) for line in contract
    ]


def test_tree_in_the_architecture_has_every_module() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    tree = text.partition("## The tree")[2].partition("## Layers")[0]

    drawn = {
        Path(name).name.removesuffix(".py") for name in re.findall(r"`listener/([\w./]+)`", tree)
    }
    modules = {
        path.stem
        for path in (ROOT / "listener").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or path.is_dir())
    }
    assert drawn == modules
