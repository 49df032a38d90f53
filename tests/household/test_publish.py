import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from listener.errors import ConfigError
from listener.household import ca, publish

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PUBLIC = {"earmark.conf": b"one"}
SECRET = {"broker.key": b"two", "acl": b"three"}


def test_only_changed_files_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "earmark"

    first = publish.write_files(folder, PUBLIC, SECRET)
    second = publish.write_files(folder, PUBLIC, SECRET)
    third = publish.write_files(folder, PUBLIC, SECRET | {"acl": b"other"})

    assert (first, second, third) == ([*PUBLIC, *SECRET], [], ["acl"])
    assert (folder / "acl").read_bytes() == b"other"


def test_secret_files_have_private_modes(tmp_path: Path) -> None:
    folder = tmp_path / "earmark"
    publish.write_files(folder, PUBLIC, SECRET)
    (folder / "broker.key").chmod(0o644)

    rewritten = publish.write_files(folder, PUBLIC, SECRET)

    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in PUBLIC | SECRET}
    assert rewritten == ["broker.key"]
    assert modes == {"earmark.conf": 0o644, "broker.key": 0o600, "acl": 0o600}


def test_world_writable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigError, match="world-writable"):
        publish.write_files(tmp_path, PUBLIC, SECRET)


def test_revocation_list_is_renewed_unless_it_matches(tmp_path: Path) -> None:
    authority, other = ca.new_authority(NOW), ca.new_authority(NOW)
    path = tmp_path / "crl.pem"
    listed = ca.build_revocation_list(authority, [(7, NOW)], 2)
    path.write_bytes(listed.public_bytes(serialization.Encoding.PEM))

    assert publish.is_current_revocation_list(path, {7}, authority)
    assert not publish.is_current_revocation_list(path, {7, 8}, authority)
    assert not publish.is_current_revocation_list(path, set(), authority)
    assert not publish.is_current_revocation_list(path, {7}, other)
    assert not publish.is_current_revocation_list(tmp_path / "none", set(), authority)
    path.write_bytes(b"damaged")
    assert not publish.is_current_revocation_list(path, {7}, authority)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "may_enter"),
    [
        (0o755, 0, 0, True),
        (0o711, 0, 0, True),
        (0o750, 0, 0, False),
        (0o750, 0, 105, True),
        (0o701, 0, 105, False),
        (0o700, 103, 0, True),
        (0o077, 103, 105, False),
    ],
)
def test_broker_enters_a_folder_as_its_owner_its_group_or_any_user(
    mode: int,
    uid: int,
    gid: int,
    may_enter: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    folder = os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))

    assert publish.may_enter(folder, 103, 105) == may_enter


def test_broker_reaches_a_folder_only_through_those_above_it(tmp_path: Path) -> None:
    assert publish.can_broker_reach(Path("/etc/mosquitto/earmark"))
    (tmp_path / "above").mkdir(mode=0o700)
    assert not publish.can_broker_reach(tmp_path / "above" / "files")
