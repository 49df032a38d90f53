"""uvicorn's HTTP/1.1 protocol with the error responses of the API."""

from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from listener.archive.api import RequestRefused, error_response

_MALFORMED: Final = RequestRefused(400, "request", "the request is malformed")


class JsonErrorProtocol(H11Protocol):
    """Answers a request that is not HTTP with an error of the API instead of plain text."""

    def send_400_response(self, msg: str) -> None:
        """Send the error response, and close the connection."""
        del msg
        response = error_response(None, _MALFORMED)
        headers = [*response.raw_headers, (b"Connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
