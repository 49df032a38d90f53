"""Types of the fields that messages of voice control share. Pure."""

from typing import Annotated

from msgspec import Meta

# Patterns end in \Z, for $ would let a newline through.
AskId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""Random number of an ask, never used twice: 128 bits, lower-case hex."""
Fingerprint = Annotated[str, Meta(pattern=r"^[a-z2-7]{24}\Z")]
"""Fingerprint of a public key; see ``envelope.keys.fingerprint``."""
AgeRecipient = Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
"""X25519 public key as age writes it."""
ServiceKey = Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]
"""Ed25519 public key of assist; see ``envelope.keys.device_text``."""
SignatureText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
ConsentNumber = Annotated[int, Meta(ge=1, le=1 << 53)]
"""Number of a consent; a later one of the same owner for the same speaker has a higher number."""
Flag = Annotated[int, Meta(ge=0, le=1)]
