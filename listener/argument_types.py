"""Types of command-line arguments."""

import argparse
from collections.abc import Callable

import msgspec


def argument_type(kind: object, noun: str) -> Callable[[str], str]:
    """Return an argparse type that accepts values of an annotated type.

    Args:
        kind: the annotated type.
        noun: its name in the error message.
    """

    def convert(text: str) -> str:
        try:
            value: str = msgspec.convert(text, kind)
        except msgspec.ValidationError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a valid {noun}") from None
        return value

    return convert
