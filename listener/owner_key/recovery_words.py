"""The 24 words of a recovery sheet: a secret key as a mnemonic sentence (BIP 39, English list).

A sentence has 264 bits: the key's 256, and 8 of checksum. The first four letters of a word name it.
"""

import re
import secrets
from typing import Final

from mnemonic import Mnemonic

from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import ConfigError
from listener.quantities import quantity

WORDS: Final = 24
PASSPHRASE_WORDS: Final = 6
"""66 bits, behind scrypt."""
_PREFIX: Final = 4
_HINT: Final = "read the sheet again, word by word; a word's first four letters are enough"


def words_of(identity: Identity) -> tuple[str, ...]:
    """Return the words of a secret key."""
    raw = keys.age_bytes(str(identity.secret))
    return tuple(Mnemonic("english").to_mnemonic(raw).split())


def identity_of(text: str) -> Identity:
    """Return the secret key of a sentence.

    Args:
        text: the words in order; capitals, numbers and punctuation between them are ignored.

    Raises:
        ConfigError: the words are not those of a key. The message quotes none of them, and nothing
            else is raised.
    """
    tool = Mnemonic("english")
    known = {word[:_PREFIX]: word for word in tool.wordlist}
    typed = re.findall(r"[a-z]+", text.lower())
    if len(typed) != WORDS:
        raise ConfigError(f"{quantity(len(typed), 'word')}, where a sheet has {WORDS}", _HINT)
    sentence = []
    for number, word in enumerate(typed, 1):
        whole = known.get(word[:_PREFIX])
        if whole is None or not whole.startswith(word):
            raise ConfigError(f"word {number} is not one of a recovery sheet", _HINT)
        sentence.append(whole)
    joined = " ".join(sentence)
    if not tool.check(joined):
        raise ConfigError("a word is wrong, or two are exchanged: the checksum differs", _HINT)
    secret = keys.age_secret_text(bytes(tool.to_entropy(joined)))
    (identity,) = parse_identities(secret.encode("ascii"), "sheet")
    return identity


def choose_passphrase() -> str:
    """Return a new passphrase: six random words of the same list."""
    words = Mnemonic("english").wordlist
    return " ".join(secrets.choice(words) for _ in range(PASSPHRASE_WORDS))
