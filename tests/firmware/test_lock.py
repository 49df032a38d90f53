"""The lock files: every declared requirement, pinned by its hash, without addresses."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import default_environment
from packaging.requirements import Requirement

from firmware import wheels
from firmware.lock.__main__ import ALONE, declared
from firmware.programs import BuildError
from firmware.wheels import LOCKS, TARGETS, TOOLS, Pin, Target

EVERY_LOCK = [*(target.lock for target in TARGETS), TOOLS]


def environment(target: Target, extra: str) -> dict[str, str]:
    """Say what markers ask about ``target``."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": target.python,
        "python_full_version": f"{target.python}.2",
        "platform_machine": target.machine,
        "extra": extra,
    }


def needed(target: Target) -> dict[str, Requirement]:
    """Follow what is declared through what is installed here, as ``target`` would."""
    alone, rest = declared()
    waiting = [Requirement(one) for one in rest]
    found = {one.name: one for one in map(Requirement, alone)}
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found:
            continue
        found[name] = requirement
        for text in importlib.metadata.requires(name) or ():
            next_one = Requirement(text)
            marker = next_one.marker
            extras = requirement.extras or {""}
            if marker is None or any(
                marker.evaluate(environment(target, extra)) for extra in extras
            ):
                waiting.append(next_one)
    return found


def test_each_python_and_machine_has_one_lock() -> None:
    found = {file.name for file in LOCKS.glob("*.txt")}

    assert found == {
        "3.11-aarch64.txt",
        "3.11-x86_64.txt",
        "3.13-aarch64.txt",
        "3.13-x86_64.txt",
        "tools.txt",
    }


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_lock_satisfies_every_requirement(target: Target) -> None:
    pins = {pin.name: pin for pin in wheels.read(target.lock)}

    for name, requirement in needed(target).items():
        assert name in pins, f"{target.lock.name} lacks {name}: make lock"
        assert requirement.specifier.contains(pins[name].version), f"{requirement}: make lock"


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_package_used_for_its_data_has_no_dependencies(target: Target) -> None:
    names = {pin.name for pin in wheels.read(target.lock)}

    assert set(ALONE) <= names
    assert not names & {"scipy", "scikit-learn", "joblib", "tqdm"}


@pytest.mark.parametrize("lock", EVERY_LOCK, ids=lambda lock: lock.name)
def test_lock_has_no_address_and_no_option(lock: Path) -> None:
    lines = [line for line in lock.read_text("ascii").splitlines() if not line.startswith("#")]

    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert "://" not in lock.read_text("ascii")


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_both_pythons_use_the_same_onnxruntime(machine: str) -> None:
    versions = {
        pin.version
        for target in TARGETS
        if target.machine == machine
        for pin in wheels.read(target.lock)
        if pin.name == "onnxruntime"
    }

    assert versions == {"1.31.1"}


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.5.5",
        "numpy>=2 --hash=sha256:" + 64 * "0",
        "numpy==2.5.5 --hash=md5:" + 32 * "0",
        "--index" + "-url https://example.org/" + "simple",
        "-f /tmp",
        "numpy @ https://example.org/numpy.whl --hash=sha256:" + 64 * "0",
        "numpy==2.5.5 --hash=sha256:" + 64 * "0" + " --hash=sha256:" + 64 * "1",
    ],
)
def test_line_that_is_not_a_pinned_wheel_is_refused(line: str) -> None:
    with pytest.raises(BuildError, match="it:2 is not a pinned wheel"):
        wheels.parse(f"# a comment\n{line}\n", "it")


def test_duplicate_wheel_is_refused() -> None:
    pin = Pin("numpy", "2.5.5", 64 * "0")

    with pytest.raises(BuildError, match="twice"):
        wheels.parse(f"{pin}\n{pin}\n", "it")


@given(st.text(max_size=200))
def test_any_text_parses_as_pins_or_raises_build_error(text: str) -> None:
    try:
        pins = wheels.parse(text, "it")
    except BuildError:
        return
    assert wheels.parse("".join(f"{pin}\n" for pin in pins), "it") == pins


def test_missing_lock_has_a_hint_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot read") as caught:
        wheels.read(tmp_path / "none.txt")

    assert caught.value.hint == "run make lock"


def test_wheel_is_found_by_hash_under_any_name(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "renamed.whl").write_bytes(b"wheel")
    pin = Pin("it", "1", wheels.sha256(house / "renamed.whl"))

    found = wheels.fetch([pin], (), tmp_path / "cache", house)

    assert found == (house / "renamed.whl",)


def test_offline_folder_without_a_wheel_names_it(tmp_path: Path) -> None:
    pin = Pin("numpy", "2.5.5", 64 * "0")

    with pytest.raises(BuildError, match=r"lacks numpy 2\.5\.5"):
        wheels.fetch([pin], (), tmp_path / "cache", tmp_path)


def test_wheel_tags_require_no_glibc_newer_than_debian_12() -> None:
    tags = list(Target("3.13", "aarch64").tags())

    assert "manylinux_2_28_aarch64" in tags
    assert not [tag for tag in tags if re.search(r"manylinux_2_(29|3\d)", tag)]
