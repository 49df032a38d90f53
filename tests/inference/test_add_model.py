"""What is added is kept as it was checked, or not at all."""

import os
import stat
from pathlib import Path

import pytest

from listener.errors import ModelRefused, Unavailable
from listener.inference.add_model import add_model
from listener.inference.catalogue import Catalogue
from listener.wakeword.manifest import parse_manifest
from tests.sample_model import DATA, add_pineapple, manifest_of

SERVICE = 54_321


@pytest.fixture
def added(home: Path) -> Path:
    """The folder of a model ``pineapple`` that was added to the home."""
    return add_pineapple(home)


def test_adding_the_same_model_again_is_idempotent(home: Path, added: Path) -> None:
    before = (added / "manifest.toml").stat()

    again = add_model(Catalogue(home), manifest_of("pineapple"), DATA)

    assert again is False
    assert (added / "manifest.toml").stat().st_mtime_ns == before.st_mtime_ns


def test_different_model_with_the_same_name_is_refused(home: Path, added: Path) -> None:
    with pytest.raises(ModelRefused, match="another model is named pineapple") as caught:
        add_model(Catalogue(home), manifest_of("pineapple", b"other"), b"other")

    assert str(added) in caught.value.hint


def test_name_of_a_shipped_model_is_refused(home: Path) -> None:
    with pytest.raises(ModelRefused, match="shipped with Earmark"):
        add_model(Catalogue(home), manifest_of("alexa"), DATA)


def test_hash_mismatch_with_the_manifest_is_refused(home: Path) -> None:
    with pytest.raises(ModelRefused, match="differs from its manifest"):
        add_model(Catalogue(home), manifest_of("pineapple"), DATA + b"!")

    assert not (home / "models").exists()


def test_unwritable_home_is_an_error(home: Path) -> None:
    (home / "models").write_text("in the way")

    with pytest.raises(Unavailable, match="cannot write"):
        add_model(Catalogue(home), manifest_of("pineapple"), DATA)


def test_added_manifest_reads_back_equal(added: Path) -> None:
    manifest = parse_manifest((added / "manifest.toml").read_text("utf-8"), "here")

    assert manifest == manifest_of("pineapple")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_model_that_root_adds_can_be_read_by_the_services(home: Path) -> None:
    os.chown(home, SERVICE, -1)
    before = os.umask(0o077)
    try:
        added = add_pineapple(home)
    finally:
        os.umask(before)

    places = [added.parent, added, *added.iterdir()]
    assert {place.stat().st_uid for place in places} == {SERVICE}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places[1:]} == {0o755, 0o644}


def test_replaced_model_leaves_nothing_of_the_old_one(home: Path, added: Path) -> None:
    replaced = add_model(
        Catalogue(home), manifest_of("pineapple", b"other"), b"other", replaces=True
    )

    assert replaced
    assert Catalogue(home).load("pineapple").data == b"other"
    assert sorted(path.name for path in added.iterdir()) == ["manifest.toml", "model.onnx"]
    assert [path.name for path in added.parent.iterdir()] == ["pineapple"]
