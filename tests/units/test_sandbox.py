"""Allowed and denied operations of each unit, probed from inside its sandbox."""

import pytest

from tests.units.conftest import VERBS

Probes = dict[str, dict[str, str]]

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = VERBS
NODES = "full:rw null:rw random:rw tty:rw urandom:rw zero:rw"
NO_RIGHTS = "ok: CapPrm=0000000000000000 CapBnd=0000000000000000 NoNewPrivs=1 Seccomp=2"

EACH = {
    "network interfaces": "ok: lo",
    "changes files outside of them": "ok: ",  # none
    "reads /etc/earmark/earmark.toml": "ok",
    # onnxruntime wants the one, the spool the other.
    "reads /proc/cpuinfo": "ok",
    "reads /proc/sys/kernel/random/boot_id": "ok",
    "sees other programs": "ok: 0",
    "runs its own interpreter": "ok: it runs",
    "runs /usr/bin/python3": "ok",  # the same
    "core dumps, in bytes": "ok: 0",
    "tells systemd that it lives": "ok",
    "rights": NO_RIGHTS,
}
VOICE_FOLDERS = "/run/earmark-voice /run/earmark-voice/copies /run/earmark-voice/replies"
VOICE_SOCKETS = "/run/earmark-voice/player.sock /run/earmark-voice/voice.sock"
VOICE = {
    "makes a file in /run/earmark-voice": "ok",
    "makes a file in /run/earmark-voice/copies": "ok",
    "makes a file in /run/earmark-voice/replies": "ok",
    "lists /run/earmark-voice/copies": "ok: ",
    "lists /run/earmark-voice/replies": "ok: ",
    "speaks to /run/earmark-voice/voice.sock": "ok",
    "speaks to /run/earmark-voice/player.sock": "ok",
}
"""What the three services of voice control on a speaker may do in their folder in memory."""
MAY = {
    "hear": EACH
    | VOICE
    | {
        "makes sockets of the families": "ok: AF_UNIX",
        "speaks to the sockets": f"ok: {VOICE_SOCKETS} /run/systemd/notify"
        " /var/lib/earmark/control.sock",
        "opens the nodes": f"ok: {NODES} input/event0:r snd/controlC0:rw snd/pcmC0D0c:rw",
        "makes files in": f"ok: {VOICE_FOLDERS} /var/lib/earmark /var/lib/earmark/spool",
        "makes a file in /var/lib/earmark": "ok",
        "makes a file in /var/lib/earmark/spool": "ok",
        "reads /var/lib/earmark/device.key": "ok",
        "reads /var/lib/earmark/roster.json": "ok",
        "lists /var/lib/earmark": "ok: ",
        "lists /var/lib/earmark/spool": "ok: ",
        "signals earmark-hear": "ok",
        "locks memory": "ok",
        "speaks to /var/lib/earmark/send/notices.sock": "ok",
        "speaks to /var/lib/earmark/control.sock": "ok",
        "makes a socket in /var/lib/earmark": "ok",
        "who": "ok: earmark-hear",
    },
    "send": EACH
    | VOICE
    | {
        "makes sockets of the families": "ok: AF_UNIX AF_INET AF_INET6",
        "connects to a broker at home": "ok",
        "connects to this machine": "ok",
        "speaks to the sockets": f"ok: {VOICE_SOCKETS} /run/systemd/notify",
        "opens the nodes": f"ok: {NODES}",
        # It cannot list the home that its two folders are in.
        "makes files in": f"ok: {VOICE_FOLDERS}",
        "makes a file in /var/lib/earmark/spool": "ok",
        "makes a file in /var/lib/earmark/send": "ok",
        "reads /var/lib/earmark/send/send.lock": "ok",
        "has the credentials": "ok: tls_ca.crt tls_me.crt tls_me.key",
        "lists /var/lib/earmark/spool": "ok: ",
        "lists /var/lib/earmark/send": "ok: ",
        "signals earmark-send": "ok",
        "speaks to /var/lib/earmark/send/notices.sock": "ok",
        "speaks to /var/lib/earmark/control.sock": "ok",
        "makes a socket in /var/lib/earmark/spool": "ok",
        "who": "ok: earmark-send",
    },
    "play": EACH
    | VOICE
    | {
        "makes sockets of the families": "ok: AF_UNIX",
        "speaks to the sockets": f"ok: {VOICE_SOCKETS} /run/systemd/notify",
        "opens the nodes": f"ok: {NODES} input/event2:r snd/controlC0:rw snd/pcmC0D0p:rw",
        "makes files in": f"ok: {VOICE_FOLDERS}",
        "signals earmark-play": "ok",
        "makes a socket in /run/earmark-voice": "ok",
        "who": "ok: earmark-play",
    },
    "assist": EACH
    | {
        "makes sockets of the families": "ok: AF_UNIX AF_INET AF_INET6",
        "connects to a broker at home": "ok",
        "connects to this machine": "ok",
        "speaks to the sockets": "ok: /run/systemd/notify",
        "opens the nodes": f"ok: {NODES}",
        "makes files in": "ok: /var/lib/earmark-assist",
        "makes a file in /var/lib/earmark-assist": "ok",
        "reads /var/lib/earmark-archive-public/roster.json": "ok",
        "reads /var/lib/earmark-assist/assist.key": "ok",
        "has the credentials": "ok: assist_ca.crt assist_s-assist.crt assist_s-assist.key"
        " assist_token",
        "signals earmark-assist": "ok",
        "locks memory": "ok",
        "makes a socket in /var/lib/earmark-assist": "ok",
        "who": "ok: earmark-assist",
    },
    "archive": EACH
    | {
        "makes sockets of the families": "ok: AF_UNIX AF_INET AF_INET6",
        "connects to a broker at home": "ok",
        "connects to this machine": "ok",
        "speaks to the sockets": "ok: /run/systemd/notify /var/lib/earmark-archive/archive.sock",
        "opens the nodes": f"ok: {NODES}",
        "makes files in": "ok: /tmp /var/lib/earmark-archive",
        "makes a file in /var/lib/earmark-archive": "ok",
        "makes a file in /var/lib/earmark-archive-public": "ok",
        "reads /var/lib/earmark-archive-public/roster.json": "ok",
        "reads /var/lib/earmark-archive/archive.key": "ok",
        "has the credentials": "ok: archive_ca.crt archive_s-api.crt archive_s-api.key"
        " archive_s-archive.crt archive_s-archive.key",
        "signals earmark-archive": "ok",
        "makes a socket in /var/lib/earmark-archive": "ok",
        "who": "ok: earmark-archive",
    },
}
OPEN_ENDED = ("lists ", "makes files in")
"""Probes whose result is followed by a count or a list."""


@pytest.mark.parametrize("unit", UNITS)
def test_service_can_do_what_it_needs(probes: Probes, unit: str) -> None:
    found = probes[unit]

    for tried, expected in MAY[unit].items():
        is_open = tried.startswith(OPEN_ENDED) and expected != "ok: "
        came = found[tried]
        assert came.startswith(expected) if is_open or "lists" in tried else came == expected, tried


@pytest.mark.parametrize("unit", UNITS)
def test_service_can_do_nothing_else(probes: Probes, unit: str) -> None:
    found = probes[unit]

    allowed = {tried for tried, came in found.items() if came.startswith("ok")}

    assert allowed == set(MAY[unit])
    assert len(found) > 60


def test_archive_writes_only_to_its_home_and_private_tmp(probes: Probes) -> None:
    folders = probes["archive"]["makes files in"].removeprefix("ok: ").split()

    strange = {
        folder
        for folder in folders
        if not folder.startswith("/var/lib/earmark-archive") and folder not in {"/tmp", "/var/tmp"}  # noqa: S108 - its own
    }
    assert not strange
