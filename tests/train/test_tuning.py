"""Tuning of the first stage for one more word: the same bytes, and words that fail closed."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from listener.errors import ModelRefused
from listener.inference.add_model import add_model
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, MANIFEST, Catalogue
from listener.train import batches
from listener.train.phrase import parse_phrase
from listener.train.plan import Recipe
from listener.train.recipe import build_tuning_recipe
from listener.train.report import manifest_text
from listener.train.tuning import WEIGHTS, pack_first_stage
from listener.train.tuning_plan import TunedWord, TuningCounts, TuningRecipe
from listener.train.tuning_report import (
    LEAST_WOKEN,
    TuningReport,
    judge_outcomes,
    make_first_stage,
    tuning_card,
    tuning_json,
    tuning_text,
)
from listener.train.tuning_work import STUDENT, MeasuredLosses, Tuning
from listener.train.voices.engine import EngineRecord
from listener.train.work_folder import WorkFolder
from listener.wakeword.manifest import File, KnownWord, Model, parse_manifest
from listener.wakeword.student import read_weights
from tests.train.fake_voices import ToneEngine
from tests.train.test_report import RECIPE

COUNTS = TuningCounts(
    words=4,
    word_copies=1,
    known=2,
    known_copies=1,
    sentences=2,
    talk=2,
    test_words=2,
    test_known=2,
    batches=2,
)
SENTENCES = ("good morning to you", "the lights are off", "a cup of tea", "five green boats")
WORD = "my-lumen"
KNOWN_WORD = "our-lumen"


class Counter:
    """Counts the parts of the work; raises at the given one."""

    def __init__(self, most: int = 10**9) -> None:
        self.left = most

    def advance(self, _amount: float) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def add_word(home: Path, name: str = WORD) -> None:
    """Add the head of hey-lumen under another name, which no first stage knows."""
    model = Catalogue(home).load("hey-lumen")
    manifest = msgspec.structs.replace(model.manifest, name=name, figures={})
    add_model(Catalogue(home), manifest, model.data)


def known_word(shipped: Model, name: str = "hey-lumen") -> KnownWord:
    """The entry of a shipped word as a tuned first stage has it: without a student head."""
    return msgspec.structs.replace(shipped.manifest.words[name], head=None)


def add_stage(home: Path, *words: str) -> None:
    """Add a tuned first stage that knows shipped words, or heads of hey-lumen by other names."""
    shipped = Catalogue(home).load(FIRST_STAGE)
    known = {
        name: known_word(shipped, name if name in shipped.manifest.words else "hey-lumen")
        for name in words
    }
    stage = pack_first_stage(ADDED_FIRST_STAGE, {WEIGHTS: shipped.data}, known, "a test")
    add_model(Catalogue(home), stage.manifest, stage.data, replaces=True)


def trained_by(engine: str) -> Recipe:
    return replace(
        RECIPE,
        phrase=parse_phrase("hey lumen"),
        engines=(EngineRecord(engine, "1", "Apache-2.0", 2),),
        left_out=None,
        sentences=SENTENCES,
    )


def make(home: Path, engine: str = "tone") -> tuple[TuningRecipe, WorkFolder, Tuning]:
    catalogue = Catalogue(home)
    recipe, _ = build_tuning_recipe(WORD, trained_by(engine), catalogue, COUNTS)
    folder = WorkFolder(home / "training", f"first-stage-{WORD}", recipe.digest())
    return recipe, folder, Tuning(recipe, catalogue, home, folder, 1)


@pytest.fixture
def tuned_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two words, a first stage that knows one of them, and a voice engine."""
    monkeypatch.setattr(batches, "open_engine", lambda name, _home: ToneEngine(name))
    add_word(home)
    add_word(home, KNOWN_WORD)
    add_stage(home, KNOWN_WORD)
    return home


def read_parts(folder: WorkFolder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.path.glob("*.npz")}


@pytest.mark.timeout(300)
def test_tuning_continues_after_interruptions_and_gives_the_same_bytes(tuned_home: Path) -> None:
    _, folder, tuning = make(tuned_home)
    with folder.opened():
        outcomes = tuning.run(tuning.find_pending(), Counter())
        whole = read_parts(folder)
    shutil.rmtree(folder.path)
    made = []
    for most in (2, 3, 3):
        with folder.opened():
            pending = tuning.find_pending()
            with pytest.raises(KeyboardInterrupt):
                tuning.run(pending, Counter(most))
        made.append(pending.made)
    with folder.opened():
        pending = tuning.find_pending()
        again = tuning.run(pending, Counter())
        parts = read_parts(folder)

    # Processes may have made more parts than were reported before the interruption.
    assert made[0] == 0 < made[1] <= made[2] <= pending.made <= len(whole)
    assert again == outcomes
    assert parts == whole


@pytest.mark.timeout(300)
def test_nothing_is_pending_after_a_tuning_and_a_damaged_part_is_made_again(
    tuned_home: Path,
) -> None:
    recipe, folder, tuning = make(tuned_home)
    with folder.opened():
        tuning.run(tuning.find_pending(), Counter())
        after = tuning.find_pending()
        whole = read_parts(folder)
        for name in whole:
            damaged = folder.path / name
            for data in (b"", b"PK\x03\x04" + bytes(100), whole[name][:-30]):
                damaged.write_bytes(data)
                assert tuning.find_pending().made < after.made, name
            damaged.write_bytes(whole[name])
        (folder.path / f"{STUDENT}.npz").write_bytes(b"")
        pending = tuning.find_pending()
        tuning.run(pending, Counter())
        parts = read_parts(folder)

    assert (after.talk, after.clips, after.has_student, after.measures) == ((), (), True, ())
    assert after.estimated_s == 0
    assert after.made == len(whole)
    # What was measured belongs to the weights.
    assert len(pending.measures) == len(recipe.words)
    assert parts == whole


def test_other_seed_or_start_gives_another_recipe(tuned_home: Path) -> None:
    recipe, _, _ = make(tuned_home)
    other = replace(recipe, training=replace(recipe.training, seed=4))
    add_word(tuned_home, "third-lumen")
    add_stage(tuned_home, KNOWN_WORD, "third-lumen")
    longer, _, _ = make(tuned_home)

    assert len({recipe.digest(), other.digest(), longer.digest()}) == 3


def test_word_is_open_at_least_as_often_as_before(tuned_home: Path) -> None:
    recipe, folder, tuning = make(tuned_home)
    with folder.opened():
        known, new = tuning.run(tuning.find_pending(), Counter())

    assert [known.word, new.word] == list(recipe.words)
    assert known.word.bound is not None
    assert known.bound <= known.word.bound
    assert known.lost_before is not None
    assert new.lost_before is None
    # A tone is no word: nothing woke, so nothing can be said of either.
    assert judge_outcomes(recipe, (known, new)).kept == ()


def test_second_word_tunes_the_first_stage_that_was_tuned_before(home: Path) -> None:
    add_word(home)
    add_word(home, KNOWN_WORD)
    first, _ = build_tuning_recipe(WORD, trained_by("tone"), Catalogue(home), COUNTS)
    add_stage(home, "alexa", KNOWN_WORD)
    second, _ = build_tuning_recipe(WORD, trained_by("tone"), Catalogue(home), COUNTS)

    assert first.start == FIRST_STAGE
    # What a tuning loses of shipped words was not measured with people.
    assert [word.name for word in first.words] == [WORD]
    assert second.start == ADDED_FIRST_STAGE
    assert [word.name for word in second.words] == [KNOWN_WORD, WORD]
    assert second.words[0].spoken == ("hey lumen",)


def test_word_that_cannot_be_measured_is_dropped_with_a_note(home: Path) -> None:
    for name in (WORD, KNOWN_WORD, "gone", "changed", "unspoken"):
        add_word(home, name)
    shipped = Catalogue(home).load(FIRST_STAGE)
    entry = known_word(shipped)
    known = {
        KNOWN_WORD: entry,
        "gone": entry,
        "changed": msgspec.structs.replace(entry, sha256="0" * 64),
        "unspoken": msgspec.structs.replace(entry, spoken=()),
        WORD: msgspec.structs.replace(entry, sha256="0" * 64),
    }
    stage = pack_first_stage(ADDED_FIRST_STAGE, {WEIGHTS: shipped.data}, known, "a test")
    add_model(Catalogue(home), stage.manifest, stage.data)
    shutil.rmtree(home / "models" / "gone")

    recipe, notes = build_tuning_recipe(WORD, trained_by("tone"), Catalogue(home), COUNTS)

    assert [word.name for word in recipe.words] == [KNOWN_WORD, WORD]
    assert len(notes) == 3
    # By name, as a manifest is written.
    assert "changed: its model has changed" in notes[0]
    assert "there is no model 'gone'" in notes[1]
    assert "not known how voices say it" in notes[2]


def test_damaged_first_stage_is_not_tuned(home: Path) -> None:
    add_word(home)
    add_stage(home, "hey-lumen")
    (home / "models" / ADDED_FIRST_STAGE / WEIGHTS).write_bytes(b"")

    with pytest.raises(ModelRefused, match="differs from its manifest"):
        build_tuning_recipe(WORD, trained_by("tone"), Catalogue(home), COUNTS)


def test_other_model_of_the_name_is_not_tuned(home: Path) -> None:
    add_word(home)
    add_word(home, ADDED_FIRST_STAGE)

    with pytest.raises(ModelRefused, match="not a first stage"):
        build_tuning_recipe(WORD, trained_by("tone"), Catalogue(home), COUNTS)


KNOWN = TunedWord("alexa", "1" * 64, ("alexa", "hey alexa"), 0.001, None)
NEW = TunedWord("my-lumen", "2" * 64, ("hey lumen",), None, None)
TUNED = TuningRecipe(RECIPE, FIRST_STAGE, "3" * 64, (KNOWN, NEW), COUNTS)


def outcome(
    word: TunedWord, woken: tuple[int, int], lost: tuple[int, int], before: tuple[int, int] | None
) -> MeasuredLosses:
    return MeasuredLosses(word, 0.0005, 0.02, woken, lost, before)


@pytest.mark.parametrize(
    ("outcomes", "kept"),
    [
        ([outcome(KNOWN, (30, 30), (0, 0), (0, 0))], ["alexa"]),
        ([outcome(KNOWN, (30, 30), (0, 2), (1, 1))], ["alexa"]),
        ([outcome(KNOWN, (30, 30), (0, 1), (0, 0))], []),
        ([outcome(KNOWN, (LEAST_WOKEN - 1, 0), (0, 0), (0, 0))], []),
        ([outcome(NEW, (50, 50), (1, 1), None)], ["my-lumen"]),
        ([outcome(NEW, (50, 50), (1, 2), None)], []),
        ([outcome(NEW, (0, LEAST_WOKEN - 1), (0, 0), None)], []),
        ([outcome(NEW, (0, 0), (0, 0), None)], []),
    ],
)
def test_word_is_known_only_if_its_loss_was_shown_to_stay(
    outcomes: Sequence[MeasuredLosses], kept: list[str]
) -> None:
    report = judge_outcomes(TUNED, outcomes)

    assert [each.word.name for each in report.kept] == kept
    assert [each.outcome.word.name for each in report.refused] == [
        each.word.name for each in outcomes if each.word.name not in kept
    ]
    assert report.is_usable == ("my-lumen" in kept)


def test_manifest_and_card_say_what_was_measured(home: Path) -> None:
    report = judge_outcomes(
        TUNED,
        (
            outcome(KNOWN, (30, 30), (0, 3), (0, 1)),
            outcome(NEW, (60, 50), (0, 1), None),
        ),
    )
    data = Catalogue(home).load(FIRST_STAGE).data

    stage = make_first_stage(report, data)

    text = manifest_text(stage.manifest)
    assert parse_manifest(text, "test") == stage.manifest
    assert stage.name == ADDED_FIRST_STAGE
    (name,) = stage.manifest.words
    word = stage.manifest.words[name]
    assert (name, word.woken, word.lost, word.spoken) == (WORD, 110, 1, ("hey lumen",))
    assert stage.manifest.figures["real_people_measured"] is False
    assert "synthetic" in stage.manifest.origin
    card = tuning_card(report)
    assert card.startswith(f"# {ADDED_FIRST_STAGE}\n")
    assert "No real person was measured" in card
    assert "| my-lumen | 2.0% | 0 of 60 | 1 of 50 |" in card
    assert "alexa: 3 of 60 clips lost, 1 before" in card
    shown = msgspec.json.decode(tuning_json(report, stage.manifest))
    assert [word["word"]["name"] for word in shown["words"]] == [WORD]
    assert [each["outcome"]["word"]["name"] for each in shown["not_used"]] == ["alexa"]
    assert "alexa             not used: 3 of 60 clips lost, 1 before" in tuning_text(report)
    assert "optimistic" in tuning_text(report)


def test_changed_head_is_not_known_and_runs_without_a_first_stage(home: Path) -> None:
    add_word(home)
    shipped = Catalogue(home).load(FIRST_STAGE)
    known = {WORD: known_word(shipped)}
    stage = pack_first_stage(ADDED_FIRST_STAGE, {WEIGHTS: shipped.data}, known, "a test")
    add_model(Catalogue(home), stage.manifest, stage.data)
    before = Catalogue(home).first_stage([Catalogue(home).load(WORD)])

    word = Catalogue(home).load(WORD)
    data = word.data + b"\0"
    file = File(path="model.onnx", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    changed = msgspec.structs.replace(word.manifest, files=(file,))
    add_model(Catalogue(home), changed, data, replaces=True)
    after = Catalogue(home).first_stage([Catalogue(home).load(WORD)])

    assert before == stage
    assert after is None


@pytest.mark.system
@pytest.mark.timeout(600)
def test_tuned_first_stage_wakes_at_the_new_word(home: Path) -> None:
    add_word(home)
    add_word(home, KNOWN_WORD)
    add_stage(home, KNOWN_WORD)
    catalogue = Catalogue(home)
    counts = replace(
        COUNTS, words=12, sentences=6, known=4, test_words=30, test_known=30, batches=8
    )
    recipe, _ = build_tuning_recipe(WORD, trained_by("espeak-ng"), catalogue, counts)
    folder = WorkFolder(home / "training", WORD, recipe.digest())
    with folder.opened():
        tuning = Tuning(recipe, catalogue, home, folder, 2)
        known, new = tuning.run(tuning.find_pending(), Counter())
        data = tuning.weights()
    report = TuningReport(recipe, (known, new), ())
    stage = make_first_stage(report, data)
    add_model(
        catalogue,
        stage.manifest,
        stage.data,
        {MANIFEST: manifest_text(stage.manifest).encode()},
        replaces=True,
    )

    assert sum(new.woken) > 20
    assert sum(new.lost) <= 2
    assert sum(known.lost) <= 2
    word = catalogue.load(WORD)
    assert catalogue.first_stage([word]) == stage
    assert catalogue.first_stage([word, catalogue.load(KNOWN_WORD)]) == stage
    assert catalogue.first_stage([word, catalogue.load("alexa")]) is None
    start = catalogue.load(FIRST_STAGE)
    assert data != start.data
    assert read_weights(data, WORD).multiplications == read_weights(start.data, "").multiplications
