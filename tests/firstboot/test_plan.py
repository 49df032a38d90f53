import contextlib
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from listener.config import parse_settings
from listener.envelope.keys import device_text
from listener.errors import ConfigError
from listener.firstboot import plan
from listener.firstboot.plan import FirstBootPlan, OwnerRequest
from listener.household.invitation import Invitation

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = device_text(Ed25519PrivateKey.generate().public_key())
INVITED = Invitation(
    cn="d-hall", host="home.lan", port=8884, fingerprint="0" * 64, token="s" * 22, archive=ARCHIVE
)


@pytest.fixture(scope="module")
def key() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def read(text: str) -> FirstBootPlan:
    return plan.parse(plan.parse_tables(text, "earmark.toml"), "earmark.toml")


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value


def test_settings_owner_and_invitation_are_parsed(key: str) -> None:
    found = read(
        f'[owner]\nname = "ada"\nkey = "{key.upper()}"\n'
        f'[household]\nline = "{INVITED.line()}"\n'
        '[wake]\nwords = ["hey-jarvis"]\n'
    )

    assert found.owner == OwnerRequest(name="ada", key=key)
    assert found.line == INVITED
    settings = parse_settings(plan.render_toml(found.settings), "x")
    assert settings.wake.words == ("hey-jarvis",)
    assert settings.device.name == "hall"
    assert settings.attribution.keeper == "ada"


def test_file_may_hold_only_an_answer() -> None:
    assert read('[owner]\nanswer = "ada:abc"\n') == FirstBootPlan(
        {}, OwnerRequest(answer="ada:abc"), None
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[wake]\nword = 'x'", "unknown key wake.word"),
        ("[ownr]\n", "unknown key ownr"),
        ("owner = 3", "[owner]"),
        ("[owner]\nnmae = 'ada'", "[owner]"),
        ("[owner]\nname = 'Ada Lovelace'\nkey = 'x'", "[owner]"),
        ("[owner]\nkey = 'x'", "no owner.name"),
        ("[owner]\nname = 'ada'", "no owner.key"),
        ("[owner]\nname = 'ada'\nkey = 'age1nonsense'", "owner.key: this is not an age public key"),
        ("[household]\nline = 'earmark-join-1:x'", "household.line: this is not an invitation"),
        ("[household]\nbundle = 'x'", "[household]"),
        ("home = '/'", "home cannot be set here"),
        ("[update]\nkeys = []", "update cannot be set here"),
        ("[archive]\nport = 1", "archive cannot be set here"),
        ("[broker]\nkey_file = '/etc/shadow'", "broker.key_file cannot be set here"),
        ("[device]\nconfinement = 'where-possible'", "device.confinement cannot be set here"),
        ("[device]\nname = 'archive hall'", "not a short name"),
        ("name = “ada”", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
        ("[clip]\nkeep_days = 2026-11-22", "a date"),
        ("a = " + "9" * 5000, "a number that is too long"),
        ("a = " + "[" * 5000, "too deep"),
    ],
)
def test_error_names_the_key_and_the_fault(text: str, why: str) -> None:
    assert why in str(refused(text))


def test_secret_key_is_not_repeated() -> None:
    error = refused("[owner]\nname = 'ada'\nkey = 'AGE-SECRET-KEY-1QQQQ'")

    assert "secret" in str(error)
    assert "QQQQ" not in f"{error} {error.hint}"


def test_name_that_contradicts_the_invitation_is_refused() -> None:
    line = f'[household]\nline = "{INVITED.line()}"\n'

    assert read(f'{line}[device]\nname = "hall"\n').settings["device"]["name"] == "hall"
    assert "household.line is for hall" in str(refused(f'{line}[device]\nname = "kitchen"\n'))


def test_invitation_of_an_owner_is_refused() -> None:
    line = Invitation(
        cn="o-ada", host="h", port=1, fingerprint="0" * 64, token="s" * 22, archive=ARCHIVE
    ).line()

    error = refused(f'[household]\nline = "{line}"\n')

    assert "not for a speaker" in str(error)
    assert line not in f"{error} {error.hint}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_other_systems_are_accepted(encoding: str) -> None:
    data = "[device]\r\nname = 'hall'\r\n".encode(encoding)

    assert plan.decode_text(data) == "[device]\nname = 'hall'\n"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x80", b"x" * (plan.LIMIT_BYTES + 1)])
def test_file_that_is_not_text_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="the file is"):
        plan.decode_text(data)


@given(data=st.binary(max_size=300))
@example(data=b'a = "\\uD800"')
@example(data=b'"\x00" = 1')
def test_arbitrary_bytes_are_a_plan_or_refused(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        read(plan.decode_text(data))


WORDS = st.sampled_from(
    ["owner", "household", "device", "name", "key", "line", "answer", "broker", "wake", "home"]
)
VALUES: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


@given(raw=st.dictionaries(WORDS, VALUES, max_size=4))
def test_arbitrary_tables_are_a_plan_or_refused(raw: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        found = plan.parse(raw, "earmark.toml")
        parse_settings(plan.render_toml(found.settings), "again")


def test_sample_file_is_a_plan(key: str) -> None:
    text = (ROOT / "firmware" / "first-boot" / "earmark.toml").read_text("utf-8")

    found = read(text.replace("age1...", key).replace("earmark-join-1:...", INVITED.line()))

    assert found.owner == OwnerRequest(name="ada", key=key)
    assert found.settings["wake"]["words"] == tomllib.loads(text)["wake"]["words"]
    assert found.line == INVITED


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
def test_rendered_toml_is_parsed_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(plan.render_toml(table)) == table


def test_settings_survive_rendering_and_parsing() -> None:
    text = '[wake]\nwords = ["alexa", "hey-jarvis"]\n[wake.thresholds]\nalexa = 0.7\n'

    again = plan.render_toml(tomllib.loads(text))

    assert parse_settings(again, "again") == parse_settings(text, "text")
    assert "[wake.thresholds]" in again


def test_merge_replaces_only_the_values_above() -> None:
    below = {"a": 1, "b": {"x": 1, "y": {"z": 1}}, "c": {"x": 1}}

    assert plan.merge_tables(below, {"b": {"y": {"w": 2}}, "c": 3, "d": 4}) == {
        "a": 1,
        "b": {"x": 1, "y": {"z": 1, "w": 2}},
        "c": 3,
        "d": 4,
    }
    assert plan.merge_tables(below, {"a": {"x": 1}})["a"] == {"x": 1}


@given(below=TABLES, above=TABLES)
def test_merge_is_idempotent(below: dict[str, Any], above: dict[str, Any]) -> None:
    once = plan.merge_tables(below, above)

    assert plan.merge_tables(once, above) == once


@pytest.mark.parametrize("value", [date(2026, 11, 22), [{"a": 1}], None])
def test_value_that_no_setting_accepts_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="no setting"):
        plan.render_toml({"a": {"b": value}})


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u200b"])
def test_space_that_is_not_one_is_named_with_its_line(space: str) -> None:
    error = refused(f'[device]\nname{space}= "kitchen"\n')

    assert "is not valid TOML" in str(error)
    assert error.hint == "type the spaces in line 2 anew: one is not an ordinary space"
