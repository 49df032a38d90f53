"""Pronunciations: phones of the CMU dictionary from espeak-ng's IPA. Pure."""

from typing import Final

from listener.evaluate.confusables.phonetics import Phones, is_phone

_TABLE: Final = (
    "aɪ=AY aʊ=AW eɪ=EY oʊ=OW əʊ=OW ɔɪ=OY tʃ=CH dʒ=JH ɜː=ER iː=IY uː=UW ɑː=AA ɔː=AO oː=AO ɚ=ER"
    " ɝ=ER i=IY ɪ=IH ᵻ=IH e=EH ɛ=EH æ=AE a=AE ɑ=AA ɒ=AA ɔ=AO o=OW ʊ=UH u=UW ʌ=AH ə=AH ɐ=AH"
    " ɜ=ER p=P b=B t=T d=D k=K ɡ=G g=G f=F v=V θ=TH ð=DH s=S z=Z ʃ=SH ʒ=ZH h=HH m=M n=N ŋ=NG"
    " l=L ɬ=L ɹ=R r=R ɾ=T w=W j=Y x=K ʔ=T"
)
_PHONES: Final = dict(pair.split("=") for pair in _TABLE.split())
_LONGEST: Final = 2
_PRIMARY: Final = "ˈ"
_SECONDARY: Final = "ˌ"


def phones_from_ipa(ipa: str) -> Phones:
    """Return the phones of a pronunciation; symbols that English does not have are omitted.

    Args:
        ipa: as espeak-ng gives it; any text is safe.

    Returns:
        ARPAbet, vowels with their stress: 1, 2 or 0.
    """
    phones: list[str] = []
    stress = "0"
    at = 0
    while at < len(ipa):
        if ipa[at] in {_PRIMARY, _SECONDARY}:
            stress = "1" if ipa[at] == _PRIMARY else "2"
            at += 1
            continue
        for length in range(_LONGEST, 0, -1):
            phone = _PHONES.get(ipa[at : at + length])
            if phone is None:
                continue
            is_vowel = not is_phone(phone)
            phones.append(phone + stress if is_vowel else phone)
            if is_vowel:
                stress = "0"
            at += length
            break
        else:
            if ipa[at].isspace():
                stress = "0"
            at += 1
    return tuple(phones)
