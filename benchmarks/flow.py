"""Draw the way of the audio from the microphone to its owner, as SVG. Pure."""

from collections.abc import Iterator
from html import escape
from typing import Final

_STEPS: Final = (
    "microphone",
    "gate",
    "ring buffer",
    "features",
    "model",
    "trigger",
    "clip",
    "attribution",
    "envelope",
)
_LEFT: Final = 24
_PITCH: Final = 104
_WIDE: Final = 88
_HIGH: Final = 36
_WIDTH: Final = 2 * _LEFT + _PITCH * len(_STEPS) - (_PITCH - _WIDE)
_HEIGHT: Final = 424
_SPAN: Final = (12, _WIDTH - 12)
_STYLE: Final = """\
<style>
text { font: 13px sans-serif; fill: #1c2b2d; text-anchor: middle; }
.left { text-anchor: start; } .name { font-weight: bold; } .note { fill: #51666a; }
.border { fill: #9c2f1f; } .box { fill: #fff; stroke: #35696f; }
.owner { fill: #e4f3e2; stroke: #3f7a3a; } .switch { fill: #fbe7e2; stroke: #9c2f1f; }
.band { fill: #e8f1f2; } .line { stroke: #35696f; fill: none; marker-end: url(#head); }
.rule { stroke: #9c2f1f; stroke-dasharray: 6 4; }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"\
 orient="auto"><path d="M0 0L8 4L0 8z" fill="#35696f"/></marker></defs>"""


def flow() -> str:
    """Return the drawing, as the text of an SVG file."""
    return "\n".join(_flow()) + "\n"


def _flow() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Audio goes from the microphone through hear to an encrypted envelope, '
        'through send and the broker to the archive; the owner decrypts it">'
    )
    yield _STYLE
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f7fafa"/>'
    last = _LEFT + _PITCH * (len(_STEPS) - 1)
    owner = _LEFT + _PITCH * 3
    yield from _band(12, 146, "hear", "no network, no key that decrypts")
    yield from _band(194, 66, "send", "no microphone, no key")
    yield from _band(306, 106, "owner's computer", "", (_SPAN[0], owner + _WIDE + 12))
    yield from _band(306, 106, "archive", "no key that decrypts", (owner + _PITCH + 12, _SPAN[1]))
    yield from _border(180, "encrypted files only: the spool")
    yield from _border(288, "encrypted messages only: MQTT through a broker")
    for index, step in enumerate(_STEPS):
        x = _LEFT + _PITCH * index
        yield from _box(x, 44, step)
        if index:
            yield _arrow(x - (_PITCH - _WIDE), 62, x, 62)
    gate = _LEFT + _PITCH
    yield from _box(gate, 112, "mute switch", "switch")
    yield _arrow(gate + _WIDE / 2, 112, gate + _WIDE / 2, 80)
    yield from _box(last, 209, "send")
    yield _arrow(last + _WIDE / 2, 80, last + _WIDE / 2, 209)
    yield from _box(last, 344, "store")
    yield _arrow(last + _WIDE / 2, 245, last + _WIDE / 2, 344)
    yield from _box(owner, 344, "private key", "owner")
    yield _arrow(last, 362, owner + _WIDE, 362)
    yield from _box(owner - 2 * _PITCH, 344, "clip", "owner")
    yield _arrow(owner, 362, owner - 2 * _PITCH + _WIDE, 362)
    yield "</svg>"


def _band(
    y: float, height: float, name: str, note: str, span: tuple[float, float] = _SPAN
) -> Iterator[str]:
    x, end = span
    yield f'<rect class="band" x="{x:g}" y="{y}" width="{end - x:g}" height="{height}" rx="6"/>'
    yield (
        f'<text class="left" x="{x + 12:g}" y="{y + 20}">'
        f'<tspan class="name">{escape(name)}</tspan>'
        f'<tspan class="note" dx="10">{escape(note)}</tspan></text>'
    )


def _box(x: float, y: float, text: str, kind: str = "box") -> Iterator[str]:
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="5"/>'
    yield _text(x + _WIDE / 2, y + 23, text)


def _border(y: float, text: str) -> Iterator[str]:
    yield f'<path class="rule" d="M12 {y}H{_WIDTH - 12}"/>'
    yield f'<text class="left border" x="{_LEFT}" y="{y - 5}">{escape(text)}</text>'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line" d="M{x:g} {y:g}L{to_x:g} {to_y:g}"/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}">{escape(text)}</text>'
