"""Bounds of the messages of voice control. Pure; imports nothing, so that send may use it."""

from typing import Final

LONGEST_MESSAGE_BYTES: Final = 512
"""Ask, answer, outcome or poke."""
LONGEST_CONSENTS_BYTES: Final = 7 << 10
"""The list of consents for one speaker."""
LONGEST_CIPHERTEXT_BYTES: Final = 512 << 10
"""Ciphertext of a command copy or a reply."""
LONGEST_FILE_BYTES: Final = LONGEST_CIPHERTEXT_BYTES + 1024
"""Command copy or reply: first line, header, seal, signature and ciphertext."""
FILL_BYTES: Final = 32 << 10
"""The sound of a command copy or a reply is filled to a multiple of this length."""

MOST_PARTS: Final = 3
"""Command copies for one ask."""
MOST_COPIES: Final = 2
"""Command copies that wait for send."""
LONGEST_COMMAND_MS: Final = 15_000
LONGEST_PRE_ROLL_MS: Final = 1_000
"""Sound before the wake in a command copy."""
LONGEST_REPLY_MS: Final = 30_000

MOST_WRONG_SIGNATURES: Final = 3
"""Answers to one ask whose signature hear verifies in vain before it ignores the rest."""
MOST_OPEN_ASKS: Final = 32
"""Asks that assist keeps open."""
MOST_OPEN_ASKS_PER_DEVICE: Final = 4
MOST_ASKS_PER_S_PER_DEVICE: Final = 2
MOST_SEEN_ASKS: Final = 1024
"""Nonces that assist remembers, so that it answers no ask twice."""
