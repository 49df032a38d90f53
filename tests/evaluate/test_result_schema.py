"""The published schema of ``result.json``."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from listener.evaluate.metrics.cost import detection_costs
from listener.evaluate.metrics.results import EngineSpeed, Result, WordOutcome
from tests.evaluate import sample

FILE = Path(__file__).resolve().parents[2] / "docs/reference/evaluation-result.schema.json"
SCHEMA = json.loads(FILE.read_text("utf-8"))


def whole_result() -> Result:
    """A result with a value in every field."""
    result = sample.result("a.flac", "b.flac")
    word = result.words[0]
    costs = detection_costs(
        *(word.threshold, word.misses, word.false_wakes, word.curve, (0.0001, 0.01)),
        cost_miss=1,
        cost_false_wake=0.1,
    )
    word = msgspec.structs.replace(
        word, costs=costs, outcomes=(WordOutcome(item="a.flac", index=0, woke=True),)
    )
    speed = EngineSpeed(
        engine="earmark",
        audio_s=60,
        real_time_factor=0.01,
        cpu_share=0.01,
        runs=3,
        machine="a board",
    )
    return msgspec.structs.replace(
        result, words=(word,), comparisons=(sample.COMPARISON,), speeds=(speed,)
    )


def encoded(result: Result) -> Any:  # noqa: ANN401 - JSON
    return json.loads(msgspec.json.encode(result))


def test_schema_is_valid_and_so_is_a_result() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    for result in (whole_result(), sample.result("a.flac")):
        jsonschema.validate(encoded(result), SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "earmark-evaluation/2"),
        (("words", 0, "misses", "value"), "1 %"),
        (("words", 0, "events", 0, "kind"), "almost"),
        (("words", 0, "threshold_of"), 0.5),
        (("speeds", 0, "machine"), None),
    ],
)
def test_schema_refuses_what_no_result_has(path: tuple[Any, ...], value: object) -> None:
    tables = encoded(whole_result())
    place = tables
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tables, SCHEMA)


def test_every_table_is_described() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert definition.get("description"), name
    assert SCHEMA["$defs"]["WordResult"]["properties"]["hours"]["description"].startswith("Hours")
