"""The floors that ``make compat`` installs are those that pyproject.toml declares."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.compat.__main__ import floors

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_floors_are_pinned_and_tools_are_left_out() -> None:
    project = {
        "dependencies": ["paho-mqtt>=2.2,<3", "exact==1.0"],
        "optional-dependencies": {"device": ["rich>=14.2", "it[more]"], "dev": ["tool>=1"]},
    }

    assert set(floors(project)) == {"paho-mqtt==2.2", "rich==14.2"}


def test_every_library_has_one_floor_or_a_pin() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {*PROJECT["dependencies"]}.union(*(extras[name] for name in extras if name != "dev"))
    libraries = {one.name for one in map(Requirement, named)} - {PROJECT["name"]}
    pinned = {one.name for one in map(Requirement, named) if "==" in str(one.specifier)}

    found = sorted(set(floors(PROJECT)))

    assert {one.partition("==")[0] for one in found} == libraries - pinned
    assert len(found) == len(libraries - pinned)
