"""Student heads of trained words: the same bytes, and words that fail closed."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from listener.errors import ModelRefused
from listener.inference.add_model import add_model
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, MANIFEST, Catalogue
from listener.train import batches
from listener.train.bounds import pack_first_stage
from listener.train.negatives import Negatives, Stream, load_negatives
from listener.train.phrase import parse_phrase
from listener.train.plan import Recipe
from listener.train.recipe import build_student_head_recipe
from listener.train.report import manifest_text
from listener.train.student import TeacherStream
from listener.train.student_head_plan import StudentHeadCounts, StudentHeadRecipe
from listener.train.student_head_report import (
    LEAST_WOKEN,
    extend_first_stage,
    find_kept,
    first_stage_card,
    judge_losses,
    losses_json,
    losses_text,
)
from listener.train.student_head_work import (
    HEAD,
    LOSSES,
    MeasuredLosses,
    StudentHeadTraining,
    join_streams,
)
from listener.train.voices.engine import EngineRecord
from listener.train.work_folder import WorkFolder
from listener.wakeword.manifest import MOST_FILES, File, KnownWord, Model, parse_manifest
from listener.wakeword.student_head import read_student_head, write_student_head
from tests.train.fake_voices import ToneEngine
from tests.train.test_report import RECIPE
from tests.wakeword.students import random_student_head

COUNTS = StudentHeadCounts(
    words=4, word_copies=1, near=2, sentences=2, talk=2, test_words=2, batches=2
)
SENTENCES = ("good morning to you", "the lights are off", "a cup of tea", "five green boats")
WORD = "my-lumen"
OTHER = "our-lumen"
HEAD_FILE = write_student_head(random_student_head(16, 16))


def stream(source: str, seed: int) -> Stream:
    drawn = np.random.default_rng(seed).normal(0, 8, (60, 96)).astype(np.float32)
    return Stream(source, drawn)


NEGATIVES = Negatives(
    (stream("speech/a", 1),),
    (stream("speech/a", 2),),
    (stream("speech/b", 3), stream("noise/c", 4)),
    "0" * 64,
)


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


def trained_by(engine: str) -> Recipe:
    return replace(
        RECIPE,
        phrase=parse_phrase("hey lumen"),
        engines=(EngineRecord(engine, "1", "Apache-2.0", 2),),
        left_out=None,
        sentences=SENTENCES,
    )


def make(
    home: Path, engine: str = "tone"
) -> tuple[StudentHeadRecipe, WorkFolder, StudentHeadTraining]:
    catalogue = Catalogue(home)
    recipe = build_student_head_recipe(WORD, trained_by(engine), catalogue, COUNTS)
    folder = WorkFolder(home / "training", f"first-stage-{WORD}", recipe.digest())
    return recipe, folder, StudentHeadTraining(recipe, NEGATIVES, catalogue, folder, 1)


@pytest.fixture
def word_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a word, and a voice engine."""
    monkeypatch.setattr(batches, "open_engine", lambda name, _home: ToneEngine(name))
    add_word(home)
    return home


def read_parts(folder: WorkFolder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.path.glob("*.npz")}


@pytest.mark.timeout(300)
def test_training_continues_after_interruptions_and_gives_the_same_bytes(word_home: Path) -> None:
    _, folder, training = make(word_home)
    with folder.opened():
        outcome = training.run(training.find_pending(), Counter())
        whole = read_parts(folder)
    shutil.rmtree(folder.path)
    made = []
    for most in (1, 1, 0):
        with folder.opened():
            pending = training.find_pending()
            with pytest.raises(KeyboardInterrupt):
                training.run(pending, Counter(most))
        made.append(pending.made)
    with folder.opened():
        pending = training.find_pending()
        again = training.run(pending, Counter())
        parts = read_parts(folder)

    # Processes may have made more parts than were reported before the interruption.
    assert made[0] == 0 < made[1] <= made[2] <= pending.made <= len(whole)
    assert again == outcome
    assert parts == whole


@pytest.mark.timeout(300)
def test_nothing_is_pending_after_a_training_and_a_damaged_part_is_made_again(
    word_home: Path,
) -> None:
    _, folder, training = make(word_home)
    with folder.opened():
        training.run(training.find_pending(), Counter())
        after = training.find_pending()
        whole = read_parts(folder)
        for name in whole:
            damaged = folder.path / name
            for data in (b"", b"PK\x03\x04" + bytes(100), whole[name][:-30]):
                damaged.write_bytes(data)
                assert training.find_pending().made < after.made, name
            damaged.write_bytes(whole[name])
        (folder.path / f"{HEAD}.npz").write_bytes(b"")
        pending = training.find_pending()
        training.run(pending, Counter())
        parts = read_parts(folder)

    assert (after.talk, after.clips, after.has_head, after.has_losses) == ((), (), True, True)
    assert after.estimated_s == 0
    assert after.made == len(whole)
    assert f"{LOSSES}.npz" in whole
    # What was measured belongs to the head.
    assert not pending.has_losses
    assert parts == whole


def test_other_seed_or_word_gives_another_recipe(word_home: Path) -> None:
    recipe, _, _ = make(word_home)
    other = replace(recipe, training=replace(recipe.training, seed=4))
    retrained = replace(recipe, sha256="1" * 64)

    assert len({recipe.digest(), other.digest(), retrained.digest()}) == 3


def test_word_that_never_wakes_is_not_used(word_home: Path) -> None:
    recipe, folder, training = make(word_home)
    with folder.opened():
        outcome = training.run(training.find_pending(), Counter())

    # A tone is no word.
    assert outcome.woken == (0, 0)
    assert judge_losses(recipe, outcome).reason is not None


def test_streams_are_joined_with_the_ends_of_their_words() -> None:
    def part(steps: int, *ends: int) -> TeacherStream:
        mel = np.zeros((steps, 256), np.float16)
        return TeacherStream(mel, np.full((steps, 96), steps, np.float16), np.array(ends, np.int64))

    joined = join_streams([part(5, 2, 4), part(0), part(7, 0)])

    assert joined.word_steps.tolist() == [2, 4, 5]
    assert joined.mel.shape == (12, 256)
    assert joined.embeddings[:, 0].tolist() == [5] * 5 + [7] * 7


STUDENT_HEAD = StudentHeadRecipe(RECIPE, WORD, "2" * 64, None, "3" * 64, COUNTS)


def outcome(woken: tuple[int, int], lost: tuple[int, int], name: str = WORD) -> MeasuredLosses:
    entry = KnownWord(
        sha256="2" * 64,
        bound=0.0005,
        own_bound=0.001,
        speech_share=0.02,
        woken=sum(woken),
        lost=sum(lost),
        head=f"head-{name}.npy",
        spoken=("hey lumen",),
    )
    return MeasuredLosses(entry, woken, lost)


@pytest.mark.parametrize(
    ("woken", "lost", "reason"),
    [
        ((50, 50), (1, 1), None),
        ((50, 50), (1, 2), "3 of 100 clips lost"),
        ((0, LEAST_WOKEN), (0, 0), None),
        ((0, LEAST_WOKEN - 1), (0, 0), "only 19 clips of it woke, too few to measure a loss"),
        ((0, 0), (0, 0), "only 0 clips of it woke, too few to measure a loss"),
    ],
)
def test_word_is_used_only_if_few_of_its_clips_are_lost(
    woken: tuple[int, int], lost: tuple[int, int], reason: str | None
) -> None:
    report = judge_losses(STUDENT_HEAD, outcome(woken, lost))

    assert report.reason == reason
    assert (f"not used: {reason}" in losses_text(report)) == (reason is not None)


def extend(home: Path, name: str, added: Model | None = None) -> Model:
    """Add a word to the first stage, without training it."""
    recipe = replace(STUDENT_HEAD, name=name)
    report = judge_losses(recipe, outcome((60, 50), (0, 1), name))
    shipped = Catalogue(home).load(FIRST_STAGE)
    return extend_first_stage(report, HEAD_FILE, shipped, added, {WORD, OTHER})


def test_first_stage_keeps_the_student_the_shipped_words_and_those_of_before(home: Path) -> None:
    shipped = Catalogue(home).load(FIRST_STAGE)

    first = extend(home, OTHER)
    second = extend(home, WORD, first)
    again = extend(home, WORD, second)

    assert first.name == ADDED_FIRST_STAGE
    assert first.manifest.words == shipped.manifest.words | {
        OTHER: outcome((60, 50), (0, 1), OTHER).entry
    }
    assert set(second.manifest.words) == {*shipped.manifest.words, OTHER, WORD}
    assert second.contents[: len(shipped.contents)] == shipped.contents
    assert [file.path for file in second.manifest.files][-2:] == [
        f"head-{OTHER}.npy",
        f"head-{WORD}.npy",
    ]
    assert set(second.manifest.figures["student_heads"]) == {OTHER, WORD}
    assert again == second
    assert parse_manifest(manifest_text(second.manifest), "test") == second.manifest


def test_words_of_another_student_or_without_a_model_are_left_out(home: Path) -> None:
    shipped = Catalogue(home).load(FIRST_STAGE)
    first = extend(home, OTHER)
    words = {OTHER: first.manifest.words[OTHER]}
    contents = {"student.npy": b"another", f"head-{OTHER}.npy": HEAD_FILE}
    another = pack_first_stage(ADDED_FIRST_STAGE, contents, words, "a test")

    assert find_kept(shipped, first, {OTHER}) == [OTHER]
    assert find_kept(shipped, first, {WORD}) == []
    assert find_kept(shipped, another, {OTHER}) == []
    assert find_kept(shipped, None, {OTHER}) == []
    assert OTHER not in extend(home, WORD, another).manifest.words


def test_first_stage_with_too_many_words_is_refused(home: Path) -> None:
    shipped = Catalogue(home).load(FIRST_STAGE)
    free = MOST_FILES - len(shipped.contents)
    names = [f"word-{number}" for number in range(free + 1)]
    stage: Model | None = None
    for name in names[:-1]:
        report = judge_losses(replace(STUDENT_HEAD, name=name), outcome((60, 50), (0, 0), name))
        stage = extend_first_stage(report, HEAD_FILE, shipped, stage, names)
    report = judge_losses(
        replace(STUDENT_HEAD, name=names[-1]), outcome((60, 50), (0, 0), names[-1])
    )

    with pytest.raises(ModelRefused, match="no place for more"):
        extend_first_stage(report, HEAD_FILE, shipped, stage, names)


def test_manifest_and_card_say_what_was_measured(home: Path) -> None:
    report = judge_losses(STUDENT_HEAD, outcome((60, 50), (0, 1)))
    shipped = Catalogue(home).load(FIRST_STAGE)

    stage = extend(home, WORD)

    assert stage.manifest.figures["real_people_measured"] is False
    card = first_stage_card(report, stage, shipped)
    assert card.startswith(f"# {ADDED_FIRST_STAGE}\n")
    assert "No real person was measured" in card
    assert "| my-lumen | 2.0% | 110 | 1 |" in card
    shown = msgspec.json.decode(losses_json(report, stage.manifest))
    assert shown["word"] == {
        "name": WORD,
        "speech_share": 0.02,
        "woken": [60, 50],
        "lost": [0, 1],
    }
    assert set(shown["words"]) == {*shipped.manifest.words, WORD}
    assert "optimistic" in losses_text(report)


def test_changed_head_is_not_known_and_runs_without_a_first_stage(home: Path) -> None:
    add_word(home)
    word = Catalogue(home).load(WORD)
    known = {WORD: KnownWord(sha256=word.manifest.sha256, bound=0.1, speech_share=0.1)}
    shipped = Catalogue(home).load(FIRST_STAGE)
    stage = pack_first_stage(ADDED_FIRST_STAGE, {"student.npy": shipped.data}, known, "a test")
    add_model(Catalogue(home), stage.manifest, stage.data)
    before = Catalogue(home).first_stage([word])

    data = word.data + b"\0"
    file = File(path="model.onnx", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    changed = msgspec.structs.replace(word.manifest, files=(file,))
    add_model(Catalogue(home), changed, data, replaces=True)
    after = Catalogue(home).first_stage([Catalogue(home).load(WORD)])

    assert before == stage
    assert after is None


@pytest.mark.system
@pytest.mark.timeout(600)
def test_added_word_and_shipped_words_share_a_first_stage(home: Path) -> None:
    add_word(home)
    catalogue = Catalogue(home)
    counts = replace(COUNTS, words=24, near=6, sentences=6, test_words=30, batches=400)
    recipe = build_student_head_recipe(WORD, trained_by("espeak-ng"), catalogue, counts)
    folder = WorkFolder(home / "training", WORD, recipe.digest())
    negatives = load_negatives()
    few = replace(negatives, threshold=negatives.threshold[:4])
    with folder.opened():
        training = StudentHeadTraining(recipe, few, catalogue, folder, 2)
        losses = training.run(training.find_pending(), Counter())
        head = training.head()
    shipped = catalogue.load(FIRST_STAGE)
    report = judge_losses(recipe, losses)
    stage = extend_first_stage(report, head, shipped, None, catalogue.names())
    paths = [file.path for file in stage.manifest.files]
    beside = dict(zip(paths[1:], stage.contents[1:], strict=True))
    beside[MANIFEST] = manifest_text(stage.manifest).encode()
    add_model(catalogue, stage.manifest, stage.data, beside)

    assert sum(losses.woken) > 20
    assert sum(losses.lost) <= 2
    assert 0 < losses.entry.speech_share < 0.05
    assert read_student_head(head, HEAD).matrices[0].shape == (1536, 16)
    word = catalogue.load(WORD)
    mixed = [word, catalogue.load("alexa"), catalogue.load("timer")]
    assert catalogue.first_stage(mixed) == stage
    assert catalogue.first_stage(mixed[1:]) == shipped
