"""Rules of the source tree: import contracts, names, exceptions to lint rules, the wheel."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    file
    for folder in ("listener", "firmware", "benchmarks", "models")
    for file in (ROOT / folder).rglob("*.py")
)
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
NO_NOUN = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}


def tracked() -> list[Path]:
    """Every file that is part of the project."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git clone, so the project's files are not known")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_imports_keep_their_contracts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_no_module_is_named_utils_or_common() -> None:
    named = {file.stem for file in SOURCES} | {file.parent.name for file in SOURCES}

    assert not named & NO_NOUN


def test_no_file_names_a_package_index() -> None:
    # Spelled in halves, so that this file does not find itself.
    words = ["pypi" + r"\.", "python" + r"hosted\.", "index" + r"[-_]url", "trusted" + "-host"]
    words += ["find" + "-links", "npm" + r"js\.", "http" + r"s?://[^\s/]*/simple\b"]
    pattern = re.compile("|".join(words), re.IGNORECASE)

    found = []
    for file in tracked():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a model, a recording or a sealed vector
        found += [f"{file.relative_to(ROOT)}: {hit[0]}" for hit in pattern.finditer(text)]

    assert found == []


def test_lint_exceptions_have_a_code_and_a_reason() -> None:
    bare = re.compile(r"# (?:noqa|type: ignore)(?!(?:: |\[)[\w, -]+\]? +[#-] *\w)")

    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in [*SOURCES, *(ROOT / "tests").rglob("*.py")]
        if file != Path(__file__)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if bare.search(line)
    ]

    assert found == []


@pytest.mark.system
@pytest.mark.timeout(180)
def test_wheel_contains_models_scene_and_every_module(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for file in tracked():
        copy = clone / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)

    # Offline: with the environment's own setuptools, and no look at any index.
    how = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(tmp_path),
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *how, str(clone)],
        check=True,
        capture_output=True,
        # The page needs packages of a registry: tests/page/test_build.py builds a wheel with it.
        env=os.environ | {"EARMARK_NO_PAGE": "1"},
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    for folder in sorted((ROOT / "models").glob("*/manifest.toml")):
        assert f"earmark_models/{folder.parent.name}/manifest.toml" in carried
        assert f"earmark_models/{folder.parent.name}/card.md" in carried
    assert any(name.endswith(".onnx") for name in carried), "our own network"
    scenes = {f"listener/demo/{name}" for name in ("scene", "command")}
    assert {f"{scene}{end}" for scene in scenes for end in (".flac", ".toml")} <= carried
    assert "listener/py.typed" in carried
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "listener").rglob("*.py")}
    assert modules <= carried
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in carried)


def test_class_names_are_unique() -> None:
    """Each class name is used once in the package."""
    places: dict[str, list[str]] = {}
    for file in sorted((ROOT / "listener").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file.relative_to(ROOT)))

    assert places
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_module_names_are_unique_within_a_service() -> None:
    """One name, one module: below each top-level folder of the package, stems are unique."""
    places: dict[tuple[str, str], list[str]] = {}
    package = ROOT / "listener"
    for file in sorted(package.rglob("*.py")):
        inside = file.relative_to(package)
        if len(inside.parts) > 1 and file.stem != "__init__":
            places.setdefault((inside.parts[0], file.stem), []).append(str(inside))

    assert places
    assert [files for files in places.values() if len(files) > 1] == []
