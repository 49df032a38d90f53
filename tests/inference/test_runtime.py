import os
import subprocess
import sys

import pytest


@pytest.mark.system
def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    program = """
import sys
import listener.inference.assembly, listener.inference.head, listener.inference.speech
assert "onnxruntime" not in sys.modules, "importing our module imports nothing of theirs"

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            import os
            print("telemetry", os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watch())
from pathlib import Path
from listener.catalogue import Catalogue
listener.inference.head.HeadNet(Catalogue(Path("/nonexistent")).load("alexa").data, "alexa")
print("heavy", sorted({"scipy", "sklearn", "openwakeword", "onnx"} & set(sys.modules)))
"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment, text=True
    )

    assert done.stdout.splitlines() == ["telemetry 1", "heavy []"]
