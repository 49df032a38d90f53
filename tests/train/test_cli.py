"""``earmark train``: options, names, and a model that is there already."""

from pathlib import Path

import pytest

from listener.cli.main import main
from listener.cli.train import _choose_name, _is_trained
from listener.errors import ModelRefused, UsageError
from listener.inference.add_model import add_model
from listener.inference.catalogue import MANIFEST, Catalogue
from listener.train.report import make_manifest, manifest_text
from tests.train.test_report import RECIPE, made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hey lumen", "--record", "-1"], "--record -1 is out of range"),
        (["hey lumen", "--record", "1000"], "--record 1000 is out of range"),
        (["hey lumen", "--jobs", "-2"], "--jobs -2 is out of range"),
        (["hey lumen", "--seed", "-1"], "--seed -1 is out of range"),
        (["hey lumen", "--false-wakes", "nan"], "--false-wakes nan is out of range"),
        (["hey lumen", "--false-wakes", "-0.1"], "--false-wakes -0.1 is out of range"),
        (["hey lumen", "--licence", "two\nlines"], "--licence 'two\\nlines' is not valid"),
        (["hey lumen", "--name", "Hey Lumen"], "--name 'Hey Lumen' is not valid"),
        (["hey lumen", "--name", "alexa"], "alexa is the name of an included model"),
        (["hey 5"], "is not a phrase of English letters"),
        ([""], "is not a phrase of English letters"),
        (["hey lumen", "--say", "12"], "--say '12'"),
        (["hey lumen", "--voices", "worst"], "invalid choice"),
    ],
)
def test_wrong_options_are_named_before_anything_is_made(
    words: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", *words, "--home", str(home)])

    assert code == 2
    assert said in capsys.readouterr().err
    assert not (home / "training").exists()


def test_name_follows_the_phrase_and_is_never_a_shipped_one(home: Path) -> None:
    catalogue = Catalogue(home)

    assert _choose_name(None, "hey-computer", catalogue) == "hey-computer"
    assert _choose_name(None, "alexa", catalogue) == "my-alexa"
    assert _choose_name(None, "x" * 40, catalogue) == "x" * 32
    assert _choose_name("kitchen", "hey-computer", catalogue) == "kitchen"
    with pytest.raises(UsageError, match="included model"):
        _choose_name("timer", "hey-computer", catalogue)


def test_trained_model_is_known_by_its_recipe(home: Path) -> None:
    report, data = made()
    catalogue = Catalogue(home)
    assert not _is_trained(catalogue, "kitchen", RECIPE)
    manifest = make_manifest(report, data, "kitchen", "Apache-2.0")
    add_model(catalogue, manifest, data, {MANIFEST: manifest_text(manifest).encode()})
    added = Catalogue(home)

    assert _is_trained(added, "kitchen", RECIPE)
    manifest = make_manifest(report, data, "hall", "Apache-2.0")
    add_model(added, manifest, data)
    with pytest.raises(ModelRefused, match="another model is named hall"):
        _is_trained(added, "hall", RECIPE)
