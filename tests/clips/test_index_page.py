import json

from listener.clips import index_page

ROW = {"t": "2026-11-22T08:00:00.000Z", "device": "hall", "clip": "c"}


def test_page_has_a_player_or_a_reason_for_each_clip() -> None:
    opened = ROW | {"word": "alexa", "score": 0.93, "ms": 2500, "file": "c.flac"}

    shown = index_page.render_html(
        "ada", "2026-11-23", [opened, ROW | {"closed": "another <key>"}]
    ).decode()

    assert '<audio controls preload="none" src="c.flac">' in shown
    assert "2.5 s" in shown
    assert "closed: another &lt;key&gt;" in shown
    assert "default-src 'none'" in shown


def test_page_escapes_every_value() -> None:
    shown = index_page.render_html(
        "<b>", "<i>", [ROW | {"file": '"><script>', "ms": 1, "word": "<u>"}]
    )

    assert not {b"<script>", b"<b>", b"<i>", b"<u>"} & {part + b">" for part in shown.split(b">")}


def test_index_is_json() -> None:
    assert json.loads(index_page.render_json([ROW])) == [ROW]
