"""A card as an emulator's disk, by the NBD protocol: of its commands read, write and flush."""

import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import Final

from tests.vm.card import Card

_NBD_MAGIC: Final = 0x4E42444D41474943
_OPTION_MAGIC: Final = 0x49484156454F5054
_ANSWER_MAGIC: Final = 0x3E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_REPLY_MAGIC: Final = 0x67446698
_GREETING: Final = struct.Struct(">QQH")
_OPTION: Final = struct.Struct(">QII")
_ANSWER: Final = struct.Struct(">QIII")
_REQUEST: Final = struct.Struct(">IHHQQI")
_REPLY: Final = struct.Struct(">IIQ")

_FIXED_NEWSTYLE: Final = 1
_NO_ZEROES: Final = 2
_OPT_EXPORT_NAME, _OPT_ABORT, _OPT_INFO, _OPT_GO = 1, 2, 6, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP = 1, 3, (1 << 31) + 1
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_FUA: Final = 1
_EINVAL: Final = 22


class CardServer:
    """Serves a card on a Unix socket to one emulator after the other.

    Args:
        card: what is served.
        path: of the socket; removed at the end.
    """

    def __init__(self, card: Card, path: Path) -> None:
        self._card = card
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="card", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # The emulator goes when it is killed, and the card when its power is cut.
            with connection, contextlib.suppress(ConnectionError):
                if self._agree(connection):
                    while self._answer(connection):
                        pass

    def _agree(self, connection: socket.socket) -> bool:
        """Go through NBD's fixed newstyle handshake; say whether the disk is wanted."""
        connection.sendall(_GREETING.pack(_NBD_MAGIC, _OPTION_MAGIC, _FIXED_NEWSTYLE | _NO_ZEROES))
        _take(connection, 4)
        flags = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA
        while True:
            _, option, length = _OPTION.unpack(_take(connection, _OPTION.size))
            _take(connection, length)
            if option == _OPT_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self._card.size_bytes, flags))
                return True
            if option in (_OPT_GO, _OPT_INFO):
                about = struct.pack(">HQH", 0, self._card.size_bytes, flags)
                connection.sendall(
                    _ANSWER.pack(_ANSWER_MAGIC, option, _REP_INFO, len(about)) + about
                )
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ACK, 0))
                if option == _OPT_GO:
                    return True
            elif option == _OPT_ABORT:
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ACK, 0))
                return False
            else:
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ERR_UNSUP, 0))

    def _answer(self, connection: socket.socket) -> bool:
        """Do one request; say whether more may come."""
        _, flags, kind, handle, offset, length = _REQUEST.unpack(_take(connection, _REQUEST.size))
        answer, error = b"", 0
        match kind:
            case 0:  # read
                answer = self._card.read(offset, length)
            case 1:  # write
                self._card.write(offset, _take(connection, length), lasts=bool(flags & _FUA))
            case 2:  # good-bye
                return False
            case 3:  # flush
                self._card.flush()
            case _:
                error = _EINVAL
        connection.sendall(_REPLY.pack(_REPLY_MAGIC, error, handle) + answer)
        return True


def _take(connection: socket.socket, length: int) -> bytes:
    taken = bytearray()
    while len(taken) < length:
        if not (more := connection.recv(length - len(taken))):
            raise ConnectionResetError("the emulator is gone")
        taken += more
    return bytes(taken)
