"""Telemetry of onnxruntime is off: it opens no network connection while it scores and after.

Without what `listener/inference/onnx.py` does before the first import, onnxruntime 1.31.1 looked
its maker's server up, and opened 21 sockets in 25 s.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCENE = Path(__file__).resolve().parents[2] / "listener" / "demo" / "scene.flac"
SCORE = """
import socket, sys, time
from listener.cli import main
code = main.main(["score", sys.argv[1], "--model", "hey-lumen", "--wakes"])
assert "onnxruntime" in sys.modules
time.sleep(20)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()  # the trace is not blind
sys.exit(code)
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("strace") is None, reason="apt-get install strace"),
]


def test_scoring_opens_no_network_connection(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "COVERAGE"))}

    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg"),
            *("-o", str(trace), sys.executable, "-c", SCORE, str(SCENE)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "hey-lumen" in done.stdout
    calls = [line.partition(" ")[2].strip() for line in trace.read_text().splitlines()]
    tried = [call for call in calls if "AF_INET" in call or "AF_NETLINK" in call]
    assert len(tried) == 1, tried
    assert tried[0].startswith("socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, ")
