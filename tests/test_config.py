import contextlib
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener import config
from listener.config import parse_settings
from listener.errors import ConfigError

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


def test_empty_file_has_the_defaults() -> None:
    assert parse_settings("", "x.toml") == config.Config()


def test_example_file_has_exactly_the_defaults() -> None:
    text = EXAMPLE.read_text("utf-8")

    assert parse_settings(text, "the example") == config.Config()


def test_example_file_mentions_every_key_in_its_section() -> None:
    shown = tomllib.loads(
        re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    )

    assert set(shown) == set(config.Config.__struct_fields__)
    for section in SECTIONS:
        kind = type(getattr(config.Config(), section))
        assert set(shown[section]) == set(kind.__struct_fields__)


def test_defaults_outside_the_example_are_in_range() -> None:
    text = re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)

    shown = parse_settings(text, "the example")

    assert shown.attribution.keeper == "ada"
    assert shown.wake.thresholds == {"alexa": 0.5}
    assert shown.mute.switch == "input"


SETTINGS_SECTIONS = tuple(name for name in config.Config.__struct_fields__ if name != "home")


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "x.toml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[clip]\nrefractory_s = 2.0", "wake.refractory_s"),
        ("[wake]\nrefractry_s = 2.0", "wake.refractory_s"),
        ("refractory_s = 2.0", "wake.refractory_s"),
        ("[wake]\nthreshold = 0.5", "wake.thresholds"),
        ("[spool]\nkeep_days = 3", "clip.keep_days"),
        ("[wakes]\nwords = ['alexa']", "wake"),
        ("[spool]\npre_rol_s = 1.0", "clip.pre_roll_s"),
        ("[device]\nkeeper = 'ada'", "attribution.keeper"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_valid_one(text: str, right: str) -> None:
    error = refused(text)

    assert "unknown key" in str(error)
    assert error.hint == f"did you mean {right}?"


@pytest.mark.parametrize("section", ["", *SETTINGS_SECTIONS])
def test_unknown_key_like_no_other_lists_the_valid_keys(section: str) -> None:
    text = f"[{section}]\nqqqqqq = 1" if section else "qqqqqq = 1"
    kind = type(getattr(config.Config(), section)) if section else config.Config

    error = refused(text)

    assert error.hint == f"use one of {', '.join(kind.__struct_fields__)}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[wake]\nrefractory_s = 61", "wake.refractory_s"),
        ("[wake]\nrefractory_s = nan", "wake.refractory_s"),
        ("[wake]\nrefractory_s = '2'", "wake.refractory_s"),
        ("[wake]\nhop_ms = 60", "wake.hop_ms"),
        ("[wake]\nwords = []", "wake.words"),
        ("[wake]\nwords = ['hey_jarvis']", "wake.words[0]: not a short name"),
        ("[wake]\nwords = ['alexa', 'alexa']", "names a model twice"),
        ("[wake.thresholds]\ntimer = 0.5", "wake.thresholds has timer"),
        ("[clip]\npre_roll_s = 3.0", "clip.pre_roll_s is longer than clip.ring_s"),
        ("[broker]\nkey_file = 'a'", "belong together"),
        ("[archive]\ndatabase = 'postgresql://h/d'", "belong together"),
        ("[archive]\nobjects = 's3://b'", "belong together"),
        ("[archive]\ninstance = 1", "needs archive.database"),
        ("[mute]\nswitch = 'off'", "mute.switch"),
        ("[mute]\nswitch = 'gpio'", "mute.line is missing"),
        ("[mute]\nline = 'a b'", "mute.line"),
        ("[mute]\nline = -1", "mute.line"),
        ("[lamp]\nkind = 'gpio'", "lamp.line is missing"),
        ("[lamp]\nbrightness = 31", "lamp.brightness"),
        ("[chime]\non_wake = true", "chime.on_wake needs clip.pre_roll_s = 0"),
        ("[broker]\nport = 0", "broker.port"),
        ('[microphone]\nfiles = ["a\\u0000b"]', "microphone.files"),
        ('[attribution]\nkeeper = "ada\\n"', "attribution.keeper: not a short name"),
        ("wake = 3", "wake: expected `object`"),
        ("a = ", "is not TOML"),
        ("a = " + "9" * 5000, "a number too long"),
        ("a = " + "[" * 50_000, "brackets too deep"),
    ],
)
def test_invalid_value_is_reported_with_file_and_key(text: str, said: str) -> None:
    error = refused(text)

    assert str(error).startswith("x.toml")
    assert said in str(error)
    assert error.exit_code == 78


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("[wake.thresholds]\n'a b' = 0.5")
def test_any_text_parses_or_raises_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_settings(text, "x.toml")


@given(
    st.sampled_from(SETTINGS_SECTIONS),
    st.sampled_from(
        [*config.WakeSettings.__struct_fields__, *config.BrokerSettings.__struct_fields__]
    ),
    st.one_of(
        st.integers(),
        st.floats().map(repr),
        st.booleans().map(lambda value: str(value).lower()),
        st.sampled_from(["1979-05-27", "[[1]]", "{ a = 1 }", "'x'", "07:32:00", "{ a.b.c = {} }"]),
    ),
)
def test_any_value_of_any_key_parses_or_raises_config_error(
    section: str, key: str, value: object
) -> None:
    with contextlib.suppress(ConfigError):
        parse_settings(f"[{section}]\n{key} = {value}", "x.toml")


@pytest.mark.parametrize("value", ["2", "0", "1.0", "-0.5", "nan", '"high"'])
def test_threshold_out_of_range_names_its_word_and_the_range(value: str) -> None:
    text = f"[wake]\nthresholds = {{ alexa = 0.5, hey-jarvis = {value} }}\n"

    with pytest.raises(ConfigError, match="over 0 and under 1") as caught:
        parse_settings(text, "x.toml")

    assert "x.toml: wake.thresholds: the threshold of hey-jarvis is" in str(caught.value)


def test_no_break_space_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings('[device]\nname\u00a0= "x"\n', "x.toml")

    assert caught.value.hint.startswith("type the spaces in line 2 anew")


@pytest.mark.parametrize(
    ("hosts", "addresses"),
    [
        ('["a.lan", "b.lan:1884"]', ["a.lan:1883", "b.lan:1884"]),
        (
            '["192.0.2.1", "[2001:db8::1]:9", "[::1]"]',
            ["192.0.2.1:1883", "2001:db8::1:9", "::1:1883"],
        ),
        ("[]", ["127.0.0.1:1883"]),
    ],
)
def test_brokers_are_addresses(hosts: str, addresses: list[str]) -> None:
    settings = parse_settings(f"broker.hosts = {hosts}", "x").broker

    each = settings.each()

    assert [one.address for one in each] == addresses
    assert all(one.hosts == () and one.keepalive_s == settings.keepalive_s for one in each)


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ('["a", "a:1883"]', "an address twice"),
        ('["a:0"]', "the range of a port"),
        ('["a:70000"]', "the range of a port"),
        ('["a b"]', "matching regex"),
        ('["2001:db8::1"]', "matching regex"),
        ('[""]', "matching regex"),
    ],
)
def test_wrong_brokers_are_refused(hosts: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_settings(f"broker.hosts = {hosts}", "x")
