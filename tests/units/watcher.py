"""Keeps each file that is opened in some folders, and prints what it held; JSON.

fanotify passes a descriptor of the file, by which it can be read after its removal too. Needs root;
standard library alone. It ends when its standard input is closed.
"""

import base64
import ctypes
import json
import os
import selectors
import struct
import sys

FAN_CLOEXEC, FAN_NONBLOCK = 0x1, 0x2  # linux/fanotify.h
FAN_MARK_ADD, FAN_OPEN, FAN_EVENT_ON_CHILD = 0x1, 0x20, 0x08000000
AT_FDCWD = -100
EVENT = struct.Struct("IBBHQii")
DELETED = " (deleted)"

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Watch the folders that are named, and those below them."""
    queue = libc.fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC)
    mask = ctypes.c_uint64(FAN_OPEN | FAN_EVENT_ON_CHILD)
    for top in sys.argv[1:]:
        for folder, _, _ in os.walk(top):
            if libc.fanotify_mark(queue, FAN_MARK_ADD, mask, AT_FDCWD, folder.encode()):
                raise OSError(ctypes.get_errno(), folder)
    held: dict[tuple[int, int], int] = {}
    print("watching", flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(queue, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if queue in ready:
                keep(os.read(queue, 1 << 16), held)
            elif ready:
                break
    found = []
    for file in held.values():
        path = os.readlink(f"/proc/self/fd/{file}").removesuffix(DELETED)
        data = os.pread(file, os.fstat(file).st_size, 0)
        found.append({"path": path, "data": base64.b64encode(data).decode()})
    print("watched " + json.dumps(found), flush=True)


def keep(events: bytes, held: dict[tuple[int, int], int]) -> None:
    """Keep the descriptor of each file, once."""
    at = 0
    while at < len(events):
        length, _, _, _, _, file, _ = EVENT.unpack_from(events, at)
        at += length
        if file < 0:
            raise OSError("more was opened than the queue holds")
        status = os.fstat(file)
        if held.setdefault((status.st_dev, status.st_ino), file) != file:
            os.close(file)


if __name__ == "__main__":
    main()
