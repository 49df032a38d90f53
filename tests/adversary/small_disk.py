"""A small file system that a run fills and empties again."""

import os
import subprocess
from pathlib import Path
from typing import Final

_FILL: Final = "fill"
_BLOCK_BYTES: Final = 4096


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount a file system."""
    probe = folder / "probe"
    probe.mkdir()
    try:
        disk = SmallDisk(probe, 1 << 20)
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        if not os.path.ismount(probe):
            probe.rmdir()
    disk.close()
    probe.rmdir()
    return True


class SmallDisk:
    """A tmpfs on an empty folder. The constructor mounts it; ``close`` unmounts it.

    Args:
        folder: the empty folder.
        size_bytes: size of the file system.

    Raises:
        CalledProcessError: mounting is not permitted.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "none", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)

    def fill(self) -> None:
        """Take all free space."""
        with (self.folder / _FILL).open("wb") as file:
            while (free := os.fstatvfs(file.fileno()).f_bavail * _BLOCK_BYTES) > 0:
                try:
                    size = os.fstat(file.fileno()).st_size
                    os.posix_fallocate(file.fileno(), size, free)
                except OSError:
                    break

    def empty(self) -> None:
        """Give the space back."""
        (self.folder / _FILL).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it; processes that still use it do not prevent this."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)
