"""Allowed and denied operations of each unit, probed from inside its sandbox."""

import pytest

Probes = dict[str, dict[str, str]]

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = ("hear", "send", "archive")
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
MAY = {
    "hear": EACH
    | {
        "makes sockets of the families": "ok: AF_UNIX",
        "speaks to the sockets": "ok: /run/systemd/notify /var/lib/earmark/control.sock",
        "opens the nodes": f"ok: {NODES} input/event0:r snd/controlC0:rw snd/pcmC0D0c:rw",
        "makes files in": "ok: /var/lib/earmark /var/lib/earmark/spool",
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
    | {
        "makes sockets of the families": "ok: AF_UNIX AF_INET AF_INET6",
        "connects to a broker at home": "ok",
        "connects to this machine": "ok",
        "speaks to the sockets": "ok: /run/systemd/notify",
        "opens the nodes": f"ok: {NODES}",
        "makes files in": "ok: ",  # it cannot list the home that its two folders are in
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
    "archive": EACH
    | {
        "makes sockets of the families": "ok: AF_UNIX AF_INET AF_INET6",
        "connects to a broker at home": "ok",
        "connects to this machine": "ok",
        "speaks to the sockets": "ok: /run/systemd/notify /var/lib/earmark-archive/archive.sock",
        "opens the nodes": f"ok: {NODES}",
        "makes files in": "ok: /tmp /var/lib/earmark-archive",
        "makes a file in /var/lib/earmark-archive": "ok",
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
