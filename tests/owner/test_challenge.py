import pyrage
import pytest

from listener.errors import ConfigError
from listener.owner import challenge


def test_only_the_owners_key_decrypts_the_challenge() -> None:
    ada, bob = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()

    answer, text = challenge.make_challenge("ada", str(ada.to_public()))

    assert answer.startswith("ada:")
    assert answer not in text
    assert pyrage.decrypt(text.encode(), [ada]).decode() == f"{answer}\n"
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(text.encode(), [bob])


def test_every_challenge_has_a_different_answer() -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())

    assert len({challenge.make_challenge("ada", key)[0] for _ in range(20)}) == 20


def test_invalid_key_gets_no_challenge() -> None:
    with pytest.raises(ConfigError):
        challenge.make_challenge("ada", "age1nonsense")
