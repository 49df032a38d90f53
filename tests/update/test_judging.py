"""Releases that do not belong here."""

import os
from typing import Any

import pytest

from tests.update.speaker import Speaker, Update

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("version", "fields", "why"),
    [
        ("0.1.0", {}, "0.1.0 runs already"),
        ("0.0.9", {"least": "0.0.1"}, "--allow-downgrade"),
        ("0.4.0", {"least": "0.3.0"}, "install 0.3.0 first"),
        ("0.4.1", {"machine": "elsewhere"}, "is for"),
        ("0.4.2", {"pythons": ("3.99",)}, "Python 3.99"),
    ],
)
def test_what_does_not_belong_here_is_refused(
    version: str, fields: dict[str, Any], why: str, speaker: Speaker, update: Update
) -> None:
    if "machine" in fields:
        # Its own lock would be missing, but it is not looked at.
        fields = {"machine": ({"x86_64", "aarch64"} - {os.uname().machine}).pop()}
    release = speaker.release(version, **fields)

    for action in ("check", "install"):
        code, _, err = update(action, str(release))
        assert code == 1
        assert why in err
    assert speaker.versions == {"0.1.0"}
    assert not (speaker.folder / "update.json").exists()
