from hypothesis import given
from hypothesis import strategies as st

from listener.evaluate.confusables.phonetics import is_phone
from listener.train.pronunciation import phones_from_ipa


def test_ipa_becomes_phones_with_stress() -> None:
    assert phones_from_ipa("hˈeɪ lˈuːmɛn") == ("HH", "EY1", "L", "UW1", "M", "EH0", "N")
    assert phones_from_ipa("dʒˈɑːɹvɪs") == ("JH", "AA1", "R", "V", "IH0", "S")
    assert phones_from_ipa("ɐlˈɛksə") == ("AH0", "L", "EH1", "K", "S", "AH0")


def test_symbols_of_other_languages_are_omitted() -> None:
    assert phones_from_ipa("ǃa") == ("AE0",)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("ˈˌːaɪʊɜɹtʃdʒə ")), max_size=60))
def test_any_text_gives_phones(ipa: str) -> None:
    assert all(map(is_phone, phones_from_ipa(ipa)))
