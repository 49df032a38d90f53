"""The files that a forge, a citation manager and pre-commit read."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = ("bug.yml", "feature.yml")
ELEMENTS = {"markdown", "input", "dropdown", "textarea", "checkboxes"}
"""What GitHub's schema for issue forms allows in ``body``."""


def load(path: Path) -> Any:  # noqa: ANN401 - YAML holds any value
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms_have_the_fields_that_github_requires(name: str) -> None:
    form = load(TEMPLATES / name)

    assert form["name"]
    assert form["description"]
    identifiers = []
    for element in form["body"]:
        assert element["type"] in ELEMENTS
        attributes = element["attributes"]
        if element["type"] == "markdown":
            assert attributes["value"]
            continue
        identifiers.append(element["id"])
        assert attributes["label"]
        if element["type"] in {"dropdown", "checkboxes"}:
            assert attributes["options"]
        assert all(isinstance(flag, bool) for flag in element.get("validations", {}).values())
    assert len(identifiers) == len(set(identifiers))
    assert all(re.fullmatch(r"[a-z][a-z-]*", name) for name in identifiers)


def test_bug_form_asks_for_doctor_and_warns_of_private_data() -> None:
    form = load(TEMPLATES / "bug.yml")
    fields = {element["id"]: element for element in form["body"] if "id" in element}
    warning = form["body"][0]["attributes"]["value"]

    assert "earmark doctor --json" in fields["doctor"]["attributes"]["description"]
    for name in ("version", "hardware", "expected", "actual", "doctor"):
        assert fields[name]["validations"]["required"] is True
    assert "recordings of people" in warning
    assert "private keys" in warning
    assert fields["private"]["attributes"]["options"][0]["required"] is True


def test_issues_are_opened_by_a_form_only() -> None:
    assert load(TEMPLATES / "config.yml") == {"blank_issues_enabled": False}
    assert {file.name for file in TEMPLATES.iterdir()} == {*FORMS, "config.yml"}


def test_commit_hooks_run_pinned_tools_of_the_dev_extra() -> None:
    hooks = load(ROOT / ".pre-commit-config.yaml")["repos"]
    tools = {
        requirement.partition("==")[0]
        for requirement in PROJECT["optional-dependencies"]["dev"]
        if "==" in requirement
    }

    assert [repository["repo"] for repository in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert program.startswith(".venv/bin/")
        assert Path(program).name in tools, "a tool with an exact version (==) of the dev extra"
    assert {hook["id"] for hook in hooks[0]["hooks"]} == {"ruff-check", "ruff-format", "codespell"}


def test_citation_has_the_project_version_and_licence() -> None:
    citation = load(ROOT / "CITATION.cff")

    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_citation_follows_cff_1_2_0_and_names_no_person() -> None:
    citation = load(ROOT / "CITATION.cff")
    required = {"cff-version", "message", "title", "authors"}
    optional = {"abstract", "keywords", "license", "type", "version"}

    assert required <= set(citation) <= required | optional
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    # An entity has a name; a person has given-names and family-names.
    assert [set(author) for author in citation["authors"]] == [{"name"}]
    assert all(isinstance(value, str) for value in citation["keywords"])
    assert isinstance(citation["version"], str)
