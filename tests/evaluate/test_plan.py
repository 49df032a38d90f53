"""Plans: what they may say, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.evaluate.plan import EvaluationPlan, parse, to_builtins

WHOLE = """
plays = 4
seed = 7
target_false_wakes_per_hour = 0.5
only = ["negative/*"]

[[engine]]
words = ["alexa"]
thresholds = { alexa = 0.7 }
patience_frames = 2

[[engine]]
name = "theirs"
kind = "openwakeword"

[[corpus]]
path = "recordings"
word = "alexa"

[[condition]]

[[condition]]
noise = "noise/cafe"
snr_db = 10
room = "rooms"
speech_dbov = -30
"""


def test_plan_has_all_keys_and_default_names() -> None:
    plan = parse(WHOLE, "plan.toml")

    assert [engine.name for engine in plan.engine] == ["earmark: alexa", "theirs"]
    assert [each.name for each in plan.condition] == ["clean", "10 dB cafe in rooms at -30 dBov"]
    assert plan.engine[0].thresholds == {"alexa": 0.7}
    assert to_builtins(plan)["target_false_wakes_per_hour"] == 0.5


def test_empty_plan_has_one_engine_and_a_clean_condition() -> None:
    plan = parse("", "plan.toml")

    assert (plan.plays, plan.hit_tail_s) == (1, 0.5)
    assert [engine.words for engine in plan.engine] == [("alexa",)]
    assert [condition.name for condition in plan.condition] == ["clean"]


def test_plan_round_trip() -> None:
    import msgspec  # noqa: PLC0415 - for this alone

    plan = parse(WHOLE, "plan.toml")

    assert msgspec.convert(to_builtins(plan), EvaluationPlan) == plan


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "plan.toml is not TOML"),
        ("plays = 0", "plan.toml: .*plays"),
        ("seed = -1", "plan.toml: .*seed"),
        ("engine = []", "plan.toml: .*engine"),
        ("[[engine]]\nwords = []", "words"),
        ("[[engine]]\nthresholds = { alexa = 1.5 }", "thresholds"),
        ("[[engine]]\nthresholds = { other = 0.5 }", "has no word 'other'"),
        ("[[engine]]\nhop_ms = 50", "hop_ms"),
        ("[[engine]]\n[[engine]]", "two engines have the name 'earmark: alexa'"),
        ("[[condition]]\n[[condition]]", "two conditions have the name 'clean'"),
        ("[[condition]]\nsnr_db = 3", "needs both noise and snr_db"),
        ("[[corpus]]\nword = 'x'", "path"),
        ("target_false_wakes_per_hour = 0", "target"),
    ],
)
def test_invalid_plan_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(text, "plan.toml")


def test_misspelt_key_error_suggests_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("play = 3", "plan.toml")

    assert caught.value.hint == "did you mean plays?"


@given(st.text(max_size=60))
def test_arbitrary_text_gives_a_plan_or_one_error(text: str) -> None:
    try:
        parse(text, "plan.toml")
    except ConfigError as error:
        assert str(error).startswith("plan.toml")  # noqa: PT017 - a plan is as good


def test_plan_in_the_documentation_is_valid() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "research" / "index.md"
    text = docs.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]

    assert parse(text, "docs/research/index.md").engine
