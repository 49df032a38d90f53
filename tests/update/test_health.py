from fnmatch import fnmatch
from pathlib import Path

import pytest

from listener.errors import EarmarkError, Unavailable
from listener.update import health
from listener.update.health import Health, Systemd

pytestmark = pytest.mark.system


def program(folder: Path, text: str) -> Path:
    path = folder / "earmark"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_late_and_partial_monitor_output_is_read(tmp_path: Path) -> None:
    text = f"""
        count={tmp_path}/count; n=$(cat $count 2>/dev/null || echo 0); echo $((n + 1)) >$count
        [ $n -ge 1 ] || {{ echo '{{"hearing":false}}'; exit 69; }}
        printf '{{"hearing":true,'
        echo '"counters":{{"heard_samples":5}}}}'
        echo '{{"hearing":true}}'
        echo '{{"hearing":true,"counters":{{"heard_samples":16005}}}}'
        sleep 30"""

    assert health.watch_health(program(tmp_path, text), (), 20) is Health.SCORING


def test_constant_count_is_not_healthy(tmp_path: Path) -> None:
    text = """
        while sleep 0.05; do echo '{"hearing":true,"counters":{"heard_samples":99999999}}'; done"""

    assert health.watch_health(program(tmp_path, text), (), 0.5) is Health.SILENT


def test_restarted_count_is_counted_from_its_start(tmp_path: Path) -> None:
    text = """
        for n in 20000 30000 0 15000 15999; do
            echo "{\\"hearing\\":true,\\"counters\\":{\\"heard_samples\\":$n}}"
        done
        sleep 30"""

    assert health.watch_health(program(tmp_path, text), (), 1) is Health.SILENT


def test_monitor_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    text = """
        trap '' TERM
        echo '{"hearing":true,"mute":"software"}'
        while :; do sleep 0.1; done"""

    assert health.watch_health(program(tmp_path, text), (), 20) is Health.MUTED


def test_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="does not run"):
        health.watch_health(tmp_path / "nowhere", (), 1)
    with pytest.raises(EarmarkError, match="does not run"):
        health.version_of(tmp_path / "nowhere")


def test_recording_without_scores_is_an_error(tmp_path: Path) -> None:
    health.score_recording(program(tmp_path, """echo '{"scores":{}}'"""), tmp_path, ())

    with pytest.raises(EarmarkError, match="no scores"):
        health.score_recording(program(tmp_path, "exit 0"), tmp_path, ())


def test_missing_systemctl_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="systemctl"):
        Systemd().restart()


def test_every_service_of_the_package_is_restarted() -> None:
    folder = Path(__file__).parents[2] / "systemd"
    services = {
        path.name
        for path in folder.glob("earmark-*.service")
        if "Type=notify" in path.read_text("utf-8").splitlines()
    }

    matched = {name for name in services for one in health.SERVICES if fnmatch(name, one)}

    assert len(services) == 6
    assert matched == services
