"""The Debian package: its files, its reproducibility, and its environment that is made offline."""

import ensurepip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware import wheels
from firmware.deb import __main__ as deb
from firmware.deb import contents
from firmware.programs import BuildError
from firmware.wheels import PYTHONS, ROOT, Pin
from tests.firmware.packages import small_package, small_wheel

MAKER = ROOT / "firmware" / "deb" / "lib" / "make-environment"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
OURS = ("usr/", "etc/alsa/conf.d/")


def members(package: Path, part: str) -> dict[str, tarfile.TarInfo]:
    with tempfile.TemporaryFile() as stream:
        command = ["/usr/bin/dpkg-deb", f"--{part}-tarfile", str(package)]
        subprocess.run(command, check=True, stdout=stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            return {member.name.removeprefix("./"): member for member in archive}


@pytest.fixture(scope="session")
def tree(package: Path) -> dict[str, tarfile.TarInfo]:
    return members(package, "fsys")


@pytest.mark.system
def test_units_and_rules_are_in_their_system_folders(
    tree: dict[str, tarfile.TarInfo],
) -> None:
    names = {Path(name).name for name in tree}
    sources = [file for file in (ROOT / "systemd").rglob("*") if file.is_file()]

    assert len(sources) > 5
    for source in sources:
        if source.suffix not in contents.SKIPPED:
            assert source.name in names
        if source.suffix == ".service" and source.parent.name == "systemd":
            assert f"usr/lib/systemd/system/{source.name}" in tree
        if source.suffix == ".rules":
            assert f"usr/lib/udev/rules.d/{source.name}" in tree


@pytest.mark.system
def test_man_pages_and_completions_are_in_the_package(tree: dict[str, tarfile.TarInfo]) -> None:
    for page in (ROOT / "firmware" / "manual").glob("*.1"):
        assert tree[f"usr/share/man/man1/{page.name}.gz"].size > 500
    assert set(contents.COMPLETIONS.values()) <= set(tree)


@pytest.mark.system
def test_guides_and_samples_are_in_the_package(tree: dict[str, tarfile.TarInfo]) -> None:
    folder = "usr/share/doc/earmark"
    for page in (ROOT / "docs" / "guides").glob("*.md"):
        assert tree[f"{folder}/docs/guides/{page.name}"].size == page.stat().st_size
    for sample in contents.SAMPLES.values():
        assert f"{folder}/examples/{sample}" in tree
    assert tree["usr/lib/earmark/install.sh"].mode & 0o100


@pytest.mark.system
def test_package_enables_no_service_that_listens(package: Path, tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/dpkg-deb", "--extract", package, tmp_path], check=True)
    preset = (tmp_path / "usr/lib/systemd/system-preset/90-earmark.preset").read_text()
    rules = [line for line in preset.splitlines() if line and not line.startswith("#")]

    assert rules == ["enable earmark-update-check.service", "disable earmark-*.service"]


ROLES = {
    ("speaker",): {"first-boot", "hear", "play", "send", "update-check"},
    ("hub",): {"archive", "update-check"},
    ("speaker", "hub"): {"archive", "first-boot", "hear", "play", "send", "update-check"},
}


@pytest.mark.system
@pytest.mark.parametrize("roles", ROLES)
def test_role_enables_its_services_only(
    package: Path, tmp_path: Path, roles: tuple[str, ...]
) -> None:
    subprocess.run(["/usr/bin/dpkg-deb", "--extract", package, tmp_path], check=True)
    program = tmp_path / "usr/lib/earmark/set-role"
    preset = tmp_path / "etc/systemd/system-preset/80-earmark.preset"
    environment = os.environ | {"EARMARK_ROOT": str(tmp_path)}

    subprocess.run(["/bin/sh", program, *roles], check=True, env=environment)
    subprocess.run(["/bin/sh", program, *roles], check=True, env=environment)
    lines = preset.read_text().splitlines()
    subprocess.run(["/bin/sh", program], check=True, env=environment)

    enabled = {
        line.split("-", 1)[1].partition(".")[0] for line in lines if "enable earmark" in line
    }
    assert enabled == ROLES[roles]
    assert lines[-1] == "disable earmark-*.service"
    assert not preset.exists()
    assert (
        subprocess.run(["/bin/sh", program, "cook"], check=False, env=environment).returncode == 2
    )


@pytest.mark.system
def test_overlays_are_compiled(tree: dict[str, tarfile.TarInfo]) -> None:
    for source in (ROOT / "firmware" / "mute").glob("*.dts"):
        assert tree[f"usr/lib/earmark/overlays/{source.stem}.dtbo"].size > 500


@pytest.mark.system
def test_alsa_configuration_is_linked_from_etc(tree: dict[str, tarfile.TarInfo]) -> None:
    for source in (ROOT / "firmware" / "alsa").glob("*.conf"):
        link = tree[f"etc/alsa/conf.d/{source.name}"]
        assert link.linkname == f"/usr/share/alsa/alsa.conf.d/{source.name}"
        assert link.linkname.removeprefix("/") in tree


@pytest.mark.system
def test_files_belong_to_root_and_only_root_can_write(
    tree: dict[str, tarfile.TarInfo],
) -> None:
    for name, member in tree.items():
        assert (member.uid, member.gid) == (0, 0), name
        if not member.issym():
            assert member.mode in ({0o755} if member.isdir() else {0o644, 0o755}), name


@pytest.mark.system
def test_configuration_keys_and_clips_are_not_package_files(
    tree: dict[str, tarfile.TarInfo],
) -> None:
    files = [name for name, member in tree.items() if not member.isdir()]

    assert all(name.startswith(OURS) for name in files)
    assert not [name for name in files if name.startswith("usr/local")]


@pytest.mark.system
def test_package_has_the_checksum_of_each_file(package: Path, tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/dpkg-deb", "--raw-extract", package, tmp_path / "raw"], check=True)
    lines = (tmp_path / "raw/DEBIAN/md5sums").read_text().splitlines()

    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [
        file
        for file in (tmp_path / "raw").rglob("*")
        if file.is_file() and not file.is_symlink() and file.parent.name != "DEBIAN"
    ]
    assert len(files) == len(sums)
    for file in files:
        data = file.read_bytes()
        name = str(file.relative_to(tmp_path / "raw"))
        assert sums[name] == hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.system
def test_dpkg_reads_the_control_file(package: Path) -> None:
    command = ["/usr/bin/dpkg-deb", "--field", str(package)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    fields = dict(
        line.split(": ", 1) for line in done.stdout.splitlines() if not line.startswith(" ")
    )
    assert fields["Package"] == "earmark"
    assert fields["Version"] == deb.version()
    assert fields["Architecture"] == "amd64"
    assert "python3 (>= 3.11)" in fields["Depends"]
    assert set(members(package, "ctrl")) >= {"control", "md5sums", *deb.SCRIPTS}


@pytest.mark.system
def test_same_sources_give_the_same_package_bytes(package: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        again = small_package(tmp_path / "again")
    finally:
        os.umask(before)

    assert again.read_bytes() == package.read_bytes()


@pytest.mark.system
def test_own_wheel_builds_reproducibly(tmp_path: Path) -> None:
    tools = wheels.fetch(wheels.read(wheels.TOOLS), (), deb.CACHE / "tools")

    first = deb.own_wheel(tmp_path / "a", tools, 1_700_000_000)
    before = os.umask(0o077)
    try:
        second = deb.own_wheel(tmp_path / "b", tools, 1_700_000_000)
    finally:
        os.umask(before)

    assert first.read_bytes() == second.read_bytes()
    assert first.name == f"earmark-{deb.version()}-py3-none-any.whl"


def test_systemd_file_without_a_target_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "systemd" / "unheard.d").mkdir(parents=True)
    (tmp_path / "systemd" / "unheard.d" / "of.conf").touch()

    with pytest.raises(BuildError, match=r"systemd/unheard\.d/of\.conf has no place"):
        contents.place(tmp_path, tmp_path / "tree")


def pip_wheel() -> Path:
    """Find the pip that makes virtual environments."""
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl")):
            return wheel
    pytest.skip("this Python has no wheel of pip")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What make-environment takes: wheels and a lock for this Python."""
    source = tmp_path / "source"
    (source / "wheels").mkdir(parents=True)
    (source / "lock").mkdir()
    wheel = small_wheel(source / "wheels")
    shutil.copy(pip_wheel(), source / "wheels")
    pin = Pin("nothing", "1.0", wheels.sha256(wheel))
    (source / "lock" / f"{HERE}-{platform.machine()}.txt").write_text(f"{pin}\n")
    return source


def make(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(MAKER), str(source), str(target)],
        check=False,
        capture_output=True,
        env=os.environ | {"EARMARK_PYTHON": sys.executable},
        text=True,
    )


@pytest.mark.system
def test_environment_is_made_offline_and_then_unchanged(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "opt" / "0.1.0"
    assert make(source, target).returncode == 0
    done = subprocess.run([target / "bin/python3", "-c", "import nothing"], check=False)
    ages = {path: path.lstat().st_mtime_ns for path in target.rglob("*")}

    again = make(source, target)

    assert (done.returncode, again.returncode) == (0, 0)
    assert {path: path.lstat().st_mtime_ns for path in target.rglob("*")} == ages
    assert not list(target.glob("lib/*/site-packages/pip*"))


@pytest.mark.system
def test_interrupted_environment_is_made_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "0.1.0"
    make(source, target)
    (target / ".complete").unlink()
    (target / "bin" / "python3").unlink()

    assert make(source, target).returncode == 0

    assert (target / "bin" / "python3").exists()


@pytest.mark.system
def test_wheel_with_another_hash_is_not_unpacked(source: Path, tmp_path: Path) -> None:
    with (source / "wheels" / "nothing-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"\0")

    done = make(source, tmp_path / "0.1.0")

    assert done.returncode == 69
    assert "earmark: error: cannot create the environment" in done.stderr
    assert not (tmp_path / "0.1.0" / ".complete").exists()


@pytest.mark.system
def test_python_without_a_lock_lists_the_supported_ones(source: Path, tmp_path: Path) -> None:
    for lock in (source / "lock").iterdir():
        lock.rename(source / "lock" / "3.9-aarch64.txt")

    done = make(source, tmp_path / "0.1.0")

    assert done.returncode == 69
    assert "3.9-aarch64" in done.stderr


@pytest.fixture(scope="module")
def real_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the real package of this machine has in /usr/lib/earmark."""
    folder = tmp_path_factory.mktemp("real")
    (package,) = deb.build(["amd64"], folder)
    subprocess.run(["/usr/bin/dpkg-deb", "--extract", package, folder / "tree"], check=True)
    yield folder / "tree" / "usr" / "lib" / "earmark"
    shutil.rmtree(folder)


@pytest.mark.system
@pytest.mark.timeout(600)  # the first time, 100 MB are downloaded
@pytest.mark.skipif(
    platform.machine() != "x86_64" or HERE not in PYTHONS, reason="no lock is for this machine"
)
def test_real_package_installs_a_program_with_its_models(real_source: Path, tmp_path: Path) -> None:
    target = tmp_path / "0.1.0"
    made = make(real_source, target)
    assert made.returncode == 0, made.stderr

    done = subprocess.run(
        [target / "bin/earmark", "models", "check", "--home", tmp_path / "home"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "alexa" in done.stdout
