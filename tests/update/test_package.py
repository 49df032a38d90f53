"""Release files on the disk, whole and not.

Releases that do not belong here.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.errors import BadRelease, ConfigError, EarmarkError, Unavailable, UsageError
from listener.release.file import ReleaseManifest
from listener.update import package
from listener.update.package import release_keys
from tests.update.speaker import KEY, NOBODY, PINNED, Speaker, Update

TRUSTED = (KEY.public_key(),)
MANIFEST = ReleaseManifest(
    version="0.2.0", least="0.1.0", machine="aarch64", pythons=("3.13",), parts=(NOBODY,)
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "wheels").mkdir(parents=True)
    (folder / "lock").mkdir()
    (folder / "make-environment").write_bytes(b"#!/bin/sh\n")
    (folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    (folder / "lock" / "3.13-aarch64.txt").write_bytes(b"a==1\n")
    (folder / "lock" / "3.13-x86_64.txt").write_bytes(b"a==2\n")
    (folder / "notes.md").write_bytes(b"of no use on a speaker")
    return folder


@pytest.fixture
def release(source: Path, tmp_path: Path) -> Path:
    package.pack_release(source, tmp_path / "a.release", KEY, MANIFEST)
    return tmp_path / "a.release"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_packed_parts_are_unpacked(source: Path, release: Path, tmp_path: Path) -> None:
    manifest = package.unpack_release(release, TRUSTED, tmp_path / "into")

    kept = ("make-environment", "wheels/a-1-py3-none-any.whl", "lock/3.13-aarch64.txt")
    assert contents(tmp_path / "into") == {name: (source / name).read_bytes() for name in kept}
    assert {part.name for part in manifest.parts} == set(kept)
    assert (tmp_path / "into" / "make-environment").stat().st_mode & 0o777 == 0o700


def test_same_folder_makes_the_same_bytes(source: Path, release: Path, tmp_path: Path) -> None:
    package.pack_release(source, tmp_path / "b.release", KEY, MANIFEST)

    assert (tmp_path / "b.release").read_bytes() == release.read_bytes()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_damage_at_any_byte_is_refused(release: Path, data: st.DataObject) -> None:
    whole = release.read_bytes()
    damaged = bytearray(whole)
    match data.draw(st.sampled_from(["change", "cut", "append"])):
        case "change":
            at = data.draw(st.integers(0, len(whole) - 1))
            damaged[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
        case _:
            damaged += data.draw(st.binary(min_size=1, max_size=9))
    other = release.with_suffix(".damaged")
    other.write_bytes(damaged)

    with pytest.raises(BadRelease):
        package.unpack_release(other, TRUSTED)


@given(data=st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_file_is_refused_with_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "any").write_bytes(data)

    with pytest.raises(BadRelease):
        package.unpack_release(tmp_path / "any", TRUSTED)


def test_existing_folder_is_not_overwritten(release: Path, tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()

    with pytest.raises(Unavailable, match="File exists"):
        package.unpack_release(release, TRUSTED, tmp_path / "into")


def test_folder_without_make_environment_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "make-environment").unlink()

    with pytest.raises(UsageError, match="make-environment"):
        package.pack_release(source, tmp_path / "b.release", KEY, MANIFEST)


@pytest.mark.parametrize("path", ["missing", "."])
def test_unreadable_file_is_unavailable(path: str, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="cannot use"):
        package.unpack_release(tmp_path / path, TRUSTED)


pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("version", "fields", "why"),
    [
        ("0.1.0", {}, "0.1.0 is installed already"),
        ("0.0.9", {"least": "0.0.1"}, "--allow-downgrade"),
        ("0.4.0", {"least": "0.3.0"}, "install 0.3.0 first"),
        ("0.4.1", {"machine": "elsewhere"}, "is for"),
        ("0.4.2", {"pythons": ("3.99",)}, "Python 3.99"),
    ],
)
def test_incompatible_release_is_refused(
    version: str, fields: dict[str, Any], why: str, speaker: Speaker, update: Update
) -> None:
    if "machine" in fields:
        # Its own lock would be missing, but it is not looked at.
        fields = {"machine": ({"x86_64", "aarch64"} - {os.uname().machine}).pop()}
    release = speaker.release(version, **fields)

    for action in ("check", "install"):
        code, _, err = update(action, str(release))
        assert code == 1
        assert why in err
    assert speaker.versions == {"0.1.0"}
    assert not (speaker.folder / "update.json").exists()


def test_keys_in_the_configuration_are_trusted() -> None:
    assert release_keys([PINNED])[0] == KEY.public_key()


def test_missing_release_key_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no release key is pinned"):
        release_keys([])


def test_invalid_release_key_is_an_error() -> None:
    with pytest.raises(ConfigError, match="not a device's public key"):
        release_keys(["ed25519:" + "A" * 44])
