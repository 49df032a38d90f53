"""`earmark wyoming` as a process."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from listener.cli.main import main


def test_command_serves_on_loopback_until_it_is_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "listener", "wyoming", "--port", "0", "--home", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("serving wake words at tcp://127.0.0.1:")
        with socket.create_connection(("127.0.0.1", int(line.rsplit(":", 1)[1])), 20) as client:
            client.sendall(b'{"type":"describe"}\n')
            assert b'"info"' in client.recv(4096)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0


def test_address_in_use_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = main(["wyoming", "--port", port, "--home", str(tmp_path)])

    assert code == 69
    assert f"cannot listen at 127.0.0.1 port {port}" in capsys.readouterr().err


def test_port_out_of_range_is_refused(tmp_path: Path) -> None:
    assert main(["wyoming", "--port", "70000", "--home", str(tmp_path)]) == 2
