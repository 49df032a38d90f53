"""A small home for tests, whose grammar is built fast."""

from typing import Final

from listener.assist.understanding.home_file import HomeFile, parse_home_file

TEXT: Final = """
[[areas]]
name = "kitchen"
speakers = ["kitchen"]

[[areas]]
name = "living room"
aliases = ["lounge"]

[[things]]
kind = "light"
name = "kitchen light"
area = "kitchen"
topic = "k/light"
on = "ON"
off = "OFF"
brightness = "{value}"

[[things]]
kind = "light"
name = "lamp"
area = "kitchen"
topic = "k/lamp"
on = "ON"
off = "OFF"

[[things]]
kind = "light"
name = "lamp"
area = "living room"
topic = "l/lamp"
on = "ON"
off = "OFF"

[[things]]
kind = "switch"
name = "coffee maker"
aliases = ["coffee machine"]
area = "kitchen"
topic = "k/coffee"
on = "1"
off = "0"

[[things]]
kind = "cover"
class = "blind"
name = "kitchen blinds"
area = "kitchen"
topic = "k/blinds"
open = "OPEN"
close = "CLOSE"
position = "{value}"

[[things]]
kind = "scene"
name = "movie night"
topic = "scene"
activate = "movie"

[[things]]
kind = "climate"
name = "heating"
area = "living room"
topic = "l/heating"
temperature = "{value}"
"""


def small_home() -> HomeFile:
    """Return it."""
    return parse_home_file(TEXT, "home.toml")
