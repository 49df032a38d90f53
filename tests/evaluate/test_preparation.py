"""What cannot be used is named before the first item, or there is no run at all."""

from pathlib import Path

import msgspec
import pytest

from listener.errors import EarmarkError, UsageError
from listener.evaluate.plan import EngineSettings
from listener.evaluate.preparation import open_all
from tests.evaluate.spoken import evaluate, manifest, plan

pytestmark = pytest.mark.system  # real models


def test_a_model_that_is_refused_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    listed = manifest(tmp_path)

    result = evaluate(plan(listed, EngineSettings(), EngineSettings(words=("no-such",))))

    assert [word.word for word in result.words] == ["alexa"]
    assert [(trouble.item, "no model" in trouble.why) for trouble in result.missing] == [
        ("no-such", True)
    ]


def test_without_any_model_there_is_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="there is no model 'no-such'"):
        evaluate(plan(manifest(tmp_path), EngineSettings(words=("no-such",))))
    with pytest.raises(EarmarkError, match="embedding is no wake word"):
        evaluate(plan(manifest(tmp_path), EngineSettings(words=("embedding",))))


def test_without_sound_there_is_nothing_to_play(tmp_path: Path) -> None:
    made = plan(manifest(tmp_path))

    with pytest.raises(UsageError, match="nothing to play"):
        open_all(msgspec.structs.replace(made, corpus=()))


def test_a_condition_without_any_usable_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"none")

    with pytest.raises(UsageError, match=r"no sound in .* can be used"):
        evaluate(plan(manifest(tmp_path), condition=[{"room": str(tmp_path / "broken.wav")}]))
