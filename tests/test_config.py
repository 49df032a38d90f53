import re
import tomllib
from pathlib import Path

from listener import config
from listener.settings import parse_settings

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "earmark.example.toml"
SECTIONS = (
    "device",
    "microphone",
    "mute",
    "lamp",
    "chime",
    "wake",
    "clip",
    "attribution",
    "broker",
    "spool",
    "update",
)


def test_nothing_said_means_the_defaults() -> None:
    assert parse_settings("", "x.toml") == config.Config()


def test_the_example_shows_exactly_the_defaults() -> None:
    text = EXAMPLE.read_text("utf-8")

    assert parse_settings(text, "the example") == config.Config()


def test_the_example_mentions_every_key_where_it_belongs() -> None:
    shown = tomllib.loads(
        re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    )

    assert set(shown) == set(config.Config.__struct_fields__)
    for section in SECTIONS:
        kind = type(getattr(config.Config(), section))
        assert set(shown[section]) == set(kind.__struct_fields__)


def test_what_the_example_leaves_out_is_in_range_too() -> None:
    text = re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)

    shown = parse_settings(text, "the example")

    assert shown.attribution.keeper == "ada"
    assert shown.wake.thresholds == {"alexa": 0.5}
    assert shown.mute.switch == "input"
