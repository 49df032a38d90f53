import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.config import parse_settings
from listener.errors import ConfigError
from listener.firstboot import tables

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS
)
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(TEXTS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(TEXTS, st.one_of(SCALARS, inner), max_size=4),
    max_leaves=8,
)


@given(table=TABLES)
def test_what_is_written_is_read_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(tables.render_toml(table)) == table


def test_settings_survive_the_way_through_a_file() -> None:
    text = '[wake]\nwords = ["alexa", "hey-jarvis"]\n[wake.thresholds]\nalexa = 0.7\n'

    again = tables.render_toml(tomllib.loads(text))

    assert parse_settings(again, "again") == parse_settings(text, "text")
    assert "[wake.thresholds]" in again


def test_what_is_above_counts_and_the_rest_stays() -> None:
    below = {"a": 1, "b": {"x": 1, "y": {"z": 1}}, "c": {"x": 1}}

    assert tables.merge_tables(below, {"b": {"y": {"w": 2}}, "c": 3, "d": 4}) == {
        "a": 1,
        "b": {"x": 1, "y": {"z": 1, "w": 2}},
        "c": 3,
        "d": 4,
    }
    assert tables.merge_tables(below, {"a": {"x": 1}})["a"] == {"x": 1}


@given(below=TABLES, above=TABLES)
def test_laid_over_twice_is_laid_over_once(below: dict[str, Any], above: dict[str, Any]) -> None:
    once = tables.merge_tables(below, above)

    assert tables.merge_tables(once, above) == once


@pytest.mark.parametrize("value", [date(2026, 11, 22), [{"a": 1}], None])
def test_what_no_setting_is_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="no setting"):
        tables.render_toml({"a": {"b": value}})
