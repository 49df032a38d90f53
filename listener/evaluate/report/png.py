"""Figures as PNG, rendered by resvg."""

from typing import Final

from listener.evaluate.report.svg import FONTS

PIXELS_PER_UNIT: Final = 4.0
"""Scale: 1440 pixels for a chart of 360 units, 400 dots per inch in a column of 90 mm."""

_TEXT: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">'
    f'<text y="18" font-size="18" font-family="{FONTS}">%s</text></svg>'
)


def has_font() -> bool:
    """Return whether this machine has a font, without which a PNG would have no text."""
    import resvg_py  # noqa: PLC0415 - a render library; only needed for the files of figures

    return resvg_py.svg_to_bytes(_TEXT % "M") != resvg_py.svg_to_bytes(_TEXT % "")


def render_png(svg: str) -> bytes:
    """Return an SVG file of its own as PNG; its letters depend on the machine's fonts.

    Args:
        svg: text of ``standalone``.
    """
    import resvg_py  # noqa: PLC0415 - a render library; only needed for the files of figures

    return resvg_py.svg_to_bytes(svg, zoom=PIXELS_PER_UNIT)
