"""Numbers with their nouns, for messages: "1 clip", "2 clips"."""


def quantity(number: int | str, noun: str, plural: str = "") -> str:
    """Return the number with the noun in singular or plural.

    Args:
        number: count, or its text as it is to be printed.
        noun: in the singular.
        plural: of an irregular noun; by default ``noun`` with an s.
    """
    return f"{number} {noun if str(number) == '1' else plural or f'{noun}s'}"
