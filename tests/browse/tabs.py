"""A tab of a browser, and commands that serve the page: what tests send and read."""

import http.client
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyrage


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the server."""

    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


class Tab:
    """A tab of a browser: sends what the page would send.

    Args:
        port: of the server.
        token: from the fragment of the address.
    """

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token
        self.session = ""

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        /,
        **headers: str,
    ) -> Reply:
        """Send one request; keyword arguments are headers, with `_` in place of `-`."""
        sent = {"Host": f"localhost:{self.port}", "Origin": f"http://localhost:{self.port}"}
        sent |= {"Sec-Fetch-Site": "same-origin", "Earmark-Session": self.session}
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = kind
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, **headers)

    def post(self, path: str, fields: object, **headers: str) -> Reply:
        return self.send("POST", path, json.dumps(fields).encode(), **headers)

    def open(self) -> "Tab":
        """Exchange the token for a session."""
        reply = self.post("/page/session", {"token": self.token})
        assert reply.status == 200, reply
        self.session = reply.json()["session"]
        return self

    def request(self, identity: str, op: str, owner: str = "ada", **fields: object) -> Reply:
        """Make both steps of a request as the page does; return the last response."""
        body = {"owner": owner, "request": {"op": op} | fields}
        ticket = self.post("/v1/tickets", body)
        assert ticket.status == 201, ticket
        key = pyrage.x25519.Identity.from_str(identity)
        line = bytes(pyrage.decrypt(ticket.json()["challenge"].encode(), [key]))
        return self.send("POST", f"/v1/tickets/{ticket.json()['ticket']}", line, "text/plain")


class RunningCommand:
    """A running command that serves the page, and the lines that it prints.

    Args:
        words: of the command, without ``earmark``.
        folder: in which it runs.
    """

    def __init__(self, *words: str, folder: Path | None = None) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "listener", *words),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def next_line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return line

    def next_tab(self) -> Tab:
        """Return a tab of the next address."""
        found = re.search(r"http://[^\s\"]+", self.next_line())
        assert found is not None
        address = urlsplit(found[0])
        assert (address.scheme, address.hostname, address.path) == ("http", "localhost", "/")
        assert address.port is not None
        return Tab(address.port, address.fragment.removeprefix("token="))

    def end(self) -> tuple[int, str]:
        """End it by SIGTERM; return its exit code and what it wrote to standard error."""
        self.process.terminate()
        _, written = self.process.communicate(timeout=30)
        return self.process.returncode, written
