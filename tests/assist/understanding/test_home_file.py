from pathlib import Path

import pytest

from listener.assist.understanding.home_file import MqttAction, fill_payload, parse_home_file
from listener.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "docs/reference/home.example.toml"
LIGHT = """
[[things]]
kind = "light"
name = "lamp"
topic = "a/b"
on = "ON"
off = "OFF"
"""


def test_example_is_valid_and_names_each_kind() -> None:
    home = parse_home_file(EXAMPLE.read_text(), "example")

    assert {thing.domain for thing in home.things} == {
        "light",
        "switch",
        "cover",
        "scene",
        "climate",
    }
    assert home.area_of("living-room") == "living room"
    assert home.area_of("attic") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= 1", "is not TOML"),
        ("lights = 1", "unknown field `lights`"),
        (LIGHT + 'colour = "red"\n', r"things\[0\] \(lamp\): object contains unknown field"),
        (LIGHT.replace('"light"', '"lamp"'), "invalid value 'lamp'"),
        (LIGHT.replace('off = "OFF"\n', ""), r"\(lamp\): object missing required field `off`"),
        (LIGHT.replace('topic = "a/b"\n', ""), "has no topic for on"),
        (LIGHT.replace("a/b", "a/+"), r"things\[0\]"),
        (LIGHT.replace("a/b", "$SYS/b"), r"things\[0\]"),
        (LIGHT.replace("a/b", "earmark/v1/command/kitchen"), "belongs to Earmark"),
        (LIGHT.replace('"lamp"', '"lamp 2"'), r"things\[0\]"),
        (LIGHT + 'area = "hall"\n', "is in the area hall, which is not in areas"),
        (LIGHT + LIGHT, "two things in the same area are named lamp"),
        (LIGHT + 'brightness = "50"\n', "the payload of brightness lacks {value}"),
        (LIGHT.replace('"ON"', '"{value}"'), "the payload of on contains {value}"),
        ('[[areas]]\nname = "hall"\n[[areas]]\nname = "Hall"\n', "hall is named 2 times"),
        (
            '[[areas]]\nname = "a"\nspeakers = ["x"]\n[[areas]]\nname = "b"\nspeakers = ["x"]\n',
            "speaker x is named 2 times",
        ),
    ],
)
def test_invalid_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_home_file(text, "home.toml")


@pytest.mark.parametrize(
    ("scale", "number", "payload"),
    [
        (1.0, 50, '{"v": 50}'),
        (1.0, 21.5, '{"v": 21.5}'),
        (2.54, 50, '{"v": 127}'),
        (0.01, 35, '{"v": 0.35}'),
    ],
)
def test_value_is_scaled(scale: float, number: float, payload: str) -> None:
    action = MqttAction(payload='{"v": {value}}', scale=scale)

    assert fill_payload(action, number) == payload
