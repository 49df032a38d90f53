"""The pages index.html and index.json of a folder of opened clips. Pure."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from listener.quantities import quantity

_HEAD: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="content-security-policy"
 content="default-src 'none'; base-uri 'none'; form-action 'none'; media-src 'self' file:;
 style-src 'unsafe-inline'">
<title>Clips of {owner}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
td,th{{text-align:left;padding:.2em .8em .2em 0;vertical-align:middle}}</style>
<h1>Clips of {owner}</h1>
<p>{count}, opened on this machine on {made}. Each clip was verified: a speaker of the
household signed it, and it was sealed only to {owner}'s key. The recordings in this folder are not
encrypted. Anyone who can read this folder can play them. Times are UTC.</p>
<table>
<tr><th>begins<th>speaker<th>word<th>score<th>length<th>
"""
_COLUMNS: Final = ("t", "device", "word", "score")


def render_html(owner: str, made: str, rows: Sequence[dict[str, Any]]) -> bytes:
    """Return index.html as UTF-8.

    Args:
        owner: the owner's name.
        made: the time of opening, in the format of envelope headers.
        rows: as for ``render_json``.
    """
    lines = [
        _HEAD.format(
            owner=html.escape(owner), made=html.escape(made), count=quantity(len(rows), "clip")
        )
    ]
    for row in rows:
        cells = "".join(f"<td>{html.escape(str(row.get(name, '')))}" for name in _COLUMNS)
        if "file" in row:
            file = html.escape(str(row["file"]), quote=True)
            sound = f'<td>{row["ms"] / 1000:.1f} s<td><audio controls preload="none" src="{file}">'
            lines.append(f"<tr>{cells}{sound}</audio>\n")
        else:
            reason = html.escape(str(row.get("closed", "")))
            lines.append(f"<tr>{cells}<td><td>closed: {reason}\n")
    lines.append("</table>\n</html>\n")
    return "".join(lines).encode()


def render_json(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return index.json: an object for each clip.

    Args:
        rows: each with the public fields, and either ``file`` and the private fields, or
            ``closed``, the reason why the clip was not opened.
    """
    return json.dumps(list(rows), indent=2).encode() + b"\n"
