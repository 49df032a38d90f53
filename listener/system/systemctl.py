"""The only caller of ``systemctl``."""

import shutil
import subprocess


def run_systemctl(*words: str, timeout_s: float) -> str:
    """Run ``systemctl`` without a shell; return what it prints.

    Args:
        words: arguments, none of them from outside.
        timeout_s: maximum time, in seconds; then it is killed.

    Raises:
        OSError: there is no systemctl.
        subprocess.SubprocessError: it failed, or did not end in time.
    """
    program = shutil.which("systemctl")
    if program is None:
        raise FileNotFoundError("systemctl")
    done = subprocess.run(  # noqa: S603 - a list, and callers pass constants
        [program, *words], check=True, capture_output=True, timeout=timeout_s
    )
    return done.stdout.decode("utf-8", "replace")
