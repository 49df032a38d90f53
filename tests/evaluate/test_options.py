"""From options and settings to a plan; nothing is played."""

import argparse
from pathlib import Path

import pytest

from listener.config import Config, MicrophoneSettings, WakeSettings
from listener.errors import ConfigError, UsageError
from listener.evaluate import options
from listener.evaluate.plan import EvaluationPlan

SETTINGS = Config(
    microphone=MicrophoneSettings(channel=2),
    wake=WakeSettings(words=("alexa",), thresholds={"alexa": 0.7}, patience_frames=2),
)


def plan_of(*words: str) -> EvaluationPlan:
    parser = argparse.ArgumentParser()
    options.add_plan_options(parser)
    return options.build_plan(parser.parse_args(words), SETTINGS)


def test_where_nothing_is_said_the_settings_of_the_device_are_evaluated() -> None:
    plan = plan_of("--corpus", "here")

    (engine,) = plan.engine
    assert (engine.words, engine.thresholds) == (("alexa",), {"alexa": 0.7})
    assert engine.patience_frames == 2
    assert plan.channel == 2
    assert [each.path for each in plan.corpus] == ["here"]


def test_a_threshold_goes_to_each_word_of_each_engine() -> None:
    plan = plan_of(
        *("--corpus", "here", "--model", "alexa", "--model", "timer", "--threshold", "0.4"),
        *("--engine", "earmark", "--engine", "openwakeword"),
    )

    assert [engine.thresholds for engine in plan.engine] == [{"alexa": 0.4, "timer": 0.4}] * 2


def test_an_option_comes_before_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('plays = 2\nseed = 7\n[[corpus]]\npath = "there"\n', "utf-8")

    plan = plan_of("--plan", str(path), "--plays", "3")

    assert (plan.plays, plan.seed) == (3, 7)
    assert [each.path for each in plan.corpus] == ["there"]


def test_positives_say_the_word_of_the_model_or_what_labels_call_it() -> None:
    named = plan_of("--positives", "here")
    labelled = plan_of("--positives", "here", "--said", "hey alexa")

    assert [each.word for each in named.corpus] == ["alexa"]
    assert [each.word for each in labelled.corpus] == ["hey alexa"]


def test_clean_sound_is_played_beside_each_level_and_the_room() -> None:
    plan = plan_of(
        *("--corpus", "here", "--noise", "n", "--snr-db", "5", "--snr-db", "10", "--room", "r"),
    )

    assert [(each.noise, each.snr_db, each.room) for each in plan.condition] == [
        (None, None, None),
        (None, None, "r"),
        ("n", 5.0, "r"),
        ("n", 10.0, "r"),
    ]


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="belong together"):
        plan_of("--corpus", "here", "--snr-db", "3")
    with pytest.raises(UsageError, match="which word is said"):
        plan_of("--positives", "here", "--model", "alexa", "--model", "timer")
    with pytest.raises(ConfigError, match="the options: "):
        plan_of("--corpus", "here", "--plays", "0")
