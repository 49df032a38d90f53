import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear import report
from tests.hear.events import EVENTS


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_one_line_of_json_and_comes_back(event: report.Event) -> None:
    line = report.to_json(event)

    assert "\n" not in line
    assert report.from_json(line) == event
    assert msgspec.json.decode(line)["event"]


@given(st.binary(max_size=200))
def test_what_is_no_event_is_refused_with_one_error(data: bytes) -> None:
    try:
        report.from_json(data)
    except ValueError as error:
        assert "not an event" in str(error)  # noqa: PT017 - any bytes, mostly none


def test_fields_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        report.from_json('{"event":"muted","time_s":1,"cause":"hardware","sound":"aGVsbG8="}')
