"""What programs print and packages hold is parsed, left out or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ModelRefused
from listener.train.voices.espeak import parse_variants, parse_voices
from listener.train.voices.festival import parse_festival_voices, quote_text
from listener.train.voices.flite import parse_flite_voices
from listener.train.voices.kokoro import tokenize_ipa
from listener.train.voices.piper import number_symbols, parse_settings
from listener.train.voices.program import parse_version
from listener.train.voices.rhvoice import parse_voice_language

VOICES = """\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 2  en-gb           --/M      English_(Great_Britain) gmw/en               (en 2)
 3  en-uk           --/M      english-mb-en1     mb/mb-en1            (en-gb 3)(en 2)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 5  variant         --/M      Storm              !v/Storm             (en-us 5)
"""
VARIANTS = """\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  variant         --/M      Adam               !v/adam
 5  variant         --/M      Robosoft           !v/robosoft
 5  variant         --/F      female2            !v/f2
 5  variant         --/F      female_whisper     !v/whisperf
 5  variant         --/M      Mr_Serious         !v/Mr serious
"""


def test_voices_of_espeak_are_its_own_accents() -> None:
    assert parse_voices(VOICES) == ("en-gb", "en-us")


def test_variants_of_espeak_are_voices_of_people() -> None:
    assert parse_variants(VARIANTS) == ("Mr", "adam", "f2")


def test_voices_of_flite_speak_every_text() -> None:
    assert parse_flite_voices("Voices available: kal awb_time kal16 awb rms slt \n") == (
        *("awb", "kal16", "rms", "slt"),
    )


def test_voices_of_festival_are_english() -> None:
    printed = "(cmu_us_slt_arctic_hts ked_diphone el_diphone suo_fi_lj_diphone kal_diphone)\n"

    assert parse_festival_voices(printed) == (
        *("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone"),
    )


def test_text_stays_in_its_string() -> None:
    assert '"' not in quote_text('a" (system "rm") \\')
    assert "\\" not in quote_text("a\\")


def test_language_of_an_rhvoice_voice() -> None:
    assert parse_voice_language("name=Alan\nlanguage=English\ngender=male\n") == "english"
    assert parse_voice_language("name=Alan\n") == ""


def test_version_is_found_in_what_a_program_prints() -> None:
    assert parse_version("eSpeak NG text-to-speech: 1.51  Data at: /usr/lib") == "1.51"
    assert parse_version("  version: flite-2.2-current Sep 2018") == "2.2-current"
    assert parse_version("RHVoice-test  version: none") == "unknown"


def test_ipa_becomes_the_symbols_of_kokoro() -> None:
    american = tokenize_ipa("hˈeɪ lˈuːmɛn", is_american=True, ending=".")
    british = tokenize_ipa("hˈeɪ lˈuːmɛn", is_american=False, ending="!")

    # h ˈ A space l ˈ u m ɛ n
    assert american == [50, 156, 24, 16, 54, 156, 63, 55, 86, 56, 4]
    assert british == [50, 156, 24, 16, 54, 156, 63, 158, 55, 86, 56, 5]


@given(st.text(max_size=700))
def test_any_ipa_is_tokenized(ipa: str) -> None:
    tokens = tokenize_ipa(ipa, is_american=True, ending=",")

    assert 1 <= len(tokens) <= 509
    assert all(0 < token < 178 for token in tokens)


def test_symbols_of_piper_have_pads_between() -> None:
    symbols = parse_settings(b'{"phoneme_id_map":{"^":[1],"$":[2],"a":[14],".":[10]},"audio":{}}')

    assert number_symbols("a?a", symbols) == [1, 0, 14, 0, 14, 0, 10, 0, 2]


@given(st.binary(max_size=200))
def test_other_settings_are_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused, match="the settings of the voice piper"):
        parse_settings(data)


def test_deep_settings_are_refused() -> None:
    with pytest.raises(ModelRefused):
        parse_settings(b'{"phoneme_id_map":' + b"[" * 100_000)


@given(st.text(max_size=400))
def test_what_programs_print_is_parsed(printed: str) -> None:
    parse_version(printed)
    names = [
        *parse_voices(f"head\n{printed}"),
        *parse_variants(f"head\n{printed}"),
        *parse_flite_voices(f"Voices available: {printed}"),
        *parse_festival_voices(f"({printed})"),
    ]
    parse_voice_language(printed)

    # They are arguments of a command, and names in Festival's language.
    assert all(name[0].isalpha() and name.isascii() for name in names)
    assert not any(letter in name for name in names for letter in "()\"' \n/;")
