"""``earmark train``: options, names, and a model that is there already."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from listener.cli import train
from listener.cli.main import main
from listener.cli.train import (
    _add_first_stage,
    _choose_name,
    _is_trained,
    _was_trained_before,
    _Work,
    add_arguments,
)
from listener.config import Config
from listener.errors import ModelRefused, UsageError
from listener.inference.add_model import add_model
from listener.inference.catalogue import ADDED_FIRST_STAGE, MANIFEST, Catalogue
from listener.train.phrase import parse_phrase
from listener.train.plan import Recipe
from listener.train.report import CARD, make_manifest, manifest_text
from listener.train.student_head_plan import StudentHeadRecipe
from listener.train.student_head_work import MeasuredLosses, PendingHead
from listener.wakeword.manifest import KnownWord
from listener.wakeword.student_head import write_student_head
from tests.train.test_report import RECIPE, made
from tests.train.test_student_head_work import NEGATIVES
from tests.wakeword.students import random_student_head


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
    assert _choose_name(None, ADDED_FIRST_STAGE, catalogue) == f"my-{ADDED_FIRST_STAGE}"
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


class FakeTraining:
    """A training without voices: a random head, and ``lost`` clips of the word are lost."""

    lost = 0
    made = 0

    def __init__(self, recipe: StudentHeadRecipe, *_: object) -> None:
        self._recipe = recipe

    def find_pending(self) -> PendingHead:
        return PendingHead((), (), has_head=True, has_losses=True, made=3, estimated_s=0.0)

    def run(self, _pending: PendingHead, _progress: object) -> MeasuredLosses:
        type(self).made += 1
        entry = KnownWord(
            sha256=self._recipe.sha256,
            bound=0.01,
            own_bound=0.01,
            speech_share=0.02,
            woken=100,
            lost=self.lost,
            head=f"head-{self._recipe.name}.npy",
        )
        return MeasuredLosses(entry, (50, 50), (0, self.lost))

    def head(self) -> bytes:
        return write_student_head(random_student_head(16, 16))


def work_of(home: Path, *options: str) -> _Work:
    """Add the word ``my-lumen``, and return the work of adding it to the first stage."""
    catalogue = Catalogue(home)
    lumen = catalogue.load("hey-lumen")
    add_model(catalogue, msgspec.structs.replace(lumen.manifest, name="my-lumen"), lumen.data)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["hey lumen", "--first-stage", *options])
    return _Work(arguments, Config(home=str(home)), catalogue, "my-lumen", RECIPE, 1)


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> type[FakeTraining]:
    fake = type("Fake", (FakeTraining,), {})
    monkeypatch.setattr(train, "StudentHeadTraining", fake)
    return fake


def test_first_stage_with_the_word_is_installed_and_used(
    home: Path, fake_training: type[FakeTraining], capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(home)
    word = work.catalogue.load("my-lumen")
    before = work.catalogue.first_stage([word])

    made = [_add_first_stage(work, NEGATIVES), _add_first_stage(work, NEGATIVES)]

    shown = capsys.readouterr()
    after = work.catalogue.first_stage([word])
    with_shipped = work.catalogue.first_stage([word, work.catalogue.load("alexa")])
    assert made == [True, True]
    assert fake_training.made == 1
    assert before is None
    assert after is not None
    assert with_shipped == after
    assert after.name == ADDED_FIRST_STAGE
    folder = home / "models" / ADDED_FIRST_STAGE
    assert {file.name for file in folder.iterdir()} > {
        CARD,
        MANIFEST,
        "head-my-lumen.npy",
        "student.npy",
    }
    assert "0 of 50" in shown.out
    assert "wake.first_stage = true" in shown.out
    assert "continues: 3 parts" in shown.err
    assert "knows my-lumen already; nothing changed" in shown.err
    assert list((home / "training").iterdir()) == []


def test_first_stage_that_loses_the_word_is_not_written(
    home: Path, fake_training: type[FakeTraining], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_training.lost = 3
    work = work_of(home)

    is_made = _add_first_stage(work, NEGATIVES)

    shown = capsys.readouterr()
    assert not is_made
    assert "my-lumen" in shown.out
    assert "3 of 100 clips lost" in shown.out
    assert "the first stage was not changed: my-lumen runs without one" in shown.err
    assert work.catalogue.first_stage([work.catalogue.load("my-lumen")]) is None


def test_retrained_word_is_added_again(home: Path, fake_training: type[FakeTraining]) -> None:
    work = work_of(home)
    _add_first_stage(work, NEGATIVES)
    manifest = home / "models" / ADDED_FIRST_STAGE / MANIFEST
    sha256 = work.catalogue.manifest("my-lumen").sha256
    text = manifest.read_text("utf-8")
    before, changed, after = text.partition("[words.my-lumen]")
    manifest.write_text(before + changed + after.replace(sha256, "0" * 64), "utf-8")
    unknown = work.catalogue.first_stage([work.catalogue.load("my-lumen")])

    _add_first_stage(work, NEGATIVES)

    found = work.catalogue.first_stage([work.catalogue.load("my-lumen")])
    assert unknown is None
    assert found is not None
    assert fake_training.made == 2


def test_report_of_an_added_word_is_json(
    home: Path, fake_training: type[FakeTraining], capsys: pytest.CaptureFixture[str]
) -> None:
    _add_first_stage(work_of(home, "--json"), NEGATIVES)

    shown = json.loads(capsys.readouterr().out)
    assert fake_training.made == 1
    assert shown["model"]["name"] == ADDED_FIRST_STAGE
    assert shown["word"]["woken"] == [50, 50]
    assert shown["real_people_measured"] is False


def test_trained_word_is_only_added(
    home: Path,
    fake_training: type[FakeTraining],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work_of(home)
    monkeypatch.setattr(train, "build_recipe", lambda *_: (RECIPE, ()))
    monkeypatch.setattr(train, "_is_trained", lambda *_: True)
    command = ["train", "hey lumen", "--name", "my-lumen", "--home", str(home)]

    plain, added = main(command), main([*command, "--first-stage"])

    assert (plain, added) == (0, 0)
    assert fake_training.made == 1
    assert "nothing changed" in capsys.readouterr().out
    assert (home / "models" / ADDED_FIRST_STAGE).is_dir()


def test_word_of_another_version_is_added_and_not_trained_again(home: Path) -> None:
    report, data = made()
    catalogue = Catalogue(home)
    manifest = make_manifest(report, data, "kitchen", "Apache-2.0")
    add_model(catalogue, manifest, data, {MANIFEST: manifest_text(manifest).encode()})

    def is_known(recipe: Recipe) -> bool:
        return _was_trained_before(catalogue, "kitchen", recipe)

    assert is_known(replace(RECIPE, code="2" * 64))
    assert not is_known(replace(RECIPE, seed=9))
    assert not is_known(replace(RECIPE, phrase=parse_phrase("hey human")))
    assert not _was_trained_before(catalogue, "hall", RECIPE)


def test_help_says_what_the_first_stage_takes_and_gives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["train", "--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert "--first-stage" in shown
    assert "wake.first_stage, off by default" in shown
    assert "may lose a wake" in shown
