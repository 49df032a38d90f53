"""The rules of the tree, each of which a hurried change could break."""

import ast
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
LONGEST_LINES = 250
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
NO_NOUN = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
# What has no test of its own name, and which test exercises it instead.
UNMIRRORED = {
    "listener/__main__.py": "tests/test_cli.py",
    "listener/actions.py": "tests/test_cli.py",
    "listener/archive/tickets.py": "tests/archive/test_api.py",
    "listener/archive/rights.py": "tests/archive/test_api.py",
    "listener/archive/page.py": "tests/archive/test_api.py",
    "listener/archive/orders.py": "tests/archive/test_store.py",
    "listener/archive/holdings.py": "tests/archive/test_api.py",
    "listener/archive/keeping.py": "tests/archive/test_store.py",
    "listener/archive/files.py": "tests/archive/test_store.py",
    "listener/archive/export.py": "tests/archive/test_api.py",
    "listener/archive/erasing.py": "tests/archive/test_api.py",
    "listener/archive/door.py": "tests/archive/test_api.py",
    "listener/archive/opening.py": "tests/system/test_demo.py",
    "listener/clips/checking.py": "tests/clips/test_command.py",
    "listener/clips/desk.py": "tests/clips/test_command.py",
    "listener/clips/erasing.py": "tests/clips/test_command.py",
    "listener/clips/logbook.py": "tests/clips/test_command.py",
    "listener/clips/taking.py": "tests/clips/test_command.py",
    "listener/clips/terms.py": "tests/clips/test_command.py",
    "listener/clips/viewing.py": "tests/clips/test_command.py",
    "listener/demo/broker.py": "tests/system/test_demo.py",
    "listener/demo/command.py": "tests/system/test_demo.py",
    "listener/demo/homes.py": "tests/system/test_demo.py",
    "listener/demo/wiretap.py": "tests/system/test_demo.py",
    "listener/errors.py": "tests/test_cli.py",
    "listener/evaluate/engines/engine.py": "tests/evaluate/engines/test_ours.py",
    "listener/evaluate/engines/track.py": "tests/evaluate/rates/test_counting.py",
    "listener/evaluate/rates/events.py": "tests/evaluate/rates/test_judging.py",
    "listener/evaluate/rates/result.py": "tests/evaluate/report/test_tables.py",
    "listener/evaluate/lines.py": "tests/evaluate/test_score.py",
    "listener/hear/command.py": "tests/system/test_hear.py",
    "listener/monitor/command.py": "tests/system/test_monitor.py",
    "listener/mqtt/alone.py": "tests/system/test_delivery.py",
}


def mirror_of(file: Path) -> Path:
    """Where a module of listener/ has its test."""
    folder = file.relative_to(ROOT / "listener").parent
    return ROOT / "tests" / folder / f"test_{file.stem}.py"


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
        pytest.skip("not a git clone, so nobody knows which files are the project's")
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


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_fits_in_the_head(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST_LINES


def test_every_module_is_named_for_what_it_is() -> None:
    named = {file.stem for file in SOURCES} | {file.parent.name for file in SOURCES}

    assert not named & NO_NOUN


def test_every_module_has_its_test() -> None:
    missing = []
    for file in sorted((ROOT / "listener").rglob("*.py")):
        name, mirror = file.relative_to(ROOT), mirror_of(file)
        if file.name != "__init__.py" and not mirror.exists() and str(name) not in UNMIRRORED:
            missing.append(f"{name} wants {mirror.relative_to(ROOT)}")

    assert missing == []


def test_every_excuse_is_still_needed_and_true() -> None:
    for name, instead in UNMIRRORED.items():
        assert (ROOT / name).exists(), name
        assert not mirror_of(ROOT / name).exists(), name
        assert (ROOT / instead).exists(), instead


def test_no_file_says_where_packages_come_from() -> None:
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


def test_every_exception_to_a_lint_rule_has_a_code_and_a_reason() -> None:
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
def test_the_wheel_carries_the_models_and_the_scene(tmp_path: Path) -> None:
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
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    for folder in sorted((ROOT / "models").glob("*/manifest.toml")):
        assert f"earmark_models/{folder.parent.name}/manifest.toml" in carried
        assert f"earmark_models/{folder.parent.name}/card.md" in carried
    assert any(name.endswith(".onnx") for name in carried), "our own network"
    assert {"listener/py.typed", "listener/demo/scene.flac", "listener/demo/scene.toml"} <= carried
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "listener").rglob("*.py")}
    assert modules <= carried
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in carried)


def test_class_names_are_unique() -> None:
    """Two classes of one name in the package are a reader's mistake waiting to happen."""
    places: dict[str, list[str]] = {}
    for file in sorted((ROOT / "listener").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file.relative_to(ROOT)))

    assert places
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
