"""Command key of one ask: an X25519 key pair, made by age and never turned into text."""

import pyrage

from listener.envelope import keys


class AgeCommandKey:
    """Key pair whose secret part ends with this object: age overwrites it when it is freed."""

    __slots__ = ("_secret", "fingerprint", "recipient")

    def __init__(self) -> None:
        self._secret = pyrage.x25519.Identity.generate()
        self.recipient: str = str(self._secret.to_public())
        self.fingerprint = keys.owner_id(self.recipient)

    @property
    def secret(self) -> object:
        """Return the secret key, pyrage's opaque object; the caller keeps no reference."""
        return self._secret
