"""Drive a Home Assistant: its process, its HTTP interface and its WebSocket."""

import itertools
import json
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2
from websockets.sync.client import ClientConnection, connect

from tests.home_assistant.install import Release
from tests.ports import find_free_port
from tests.system.conftest import wait_until

PATIENCE_S: Final = 120.0
START_S: Final = 600.0
"""Longest start; a newer version writes the bytecode of all its modules first."""
_CONFIGURATION: Final = """\
homeassistant:
  name: Test house
  latitude: 52.0
  longitude: 5.0
  elevation: 0
  unit_system: metric
  time_zone: Europe/Amsterdam
  country: NL
  language: en
api:
websocket_api:
auth:
onboarding:
config:
conversation:
assist_pipeline:
automation: !include automations.yaml
input_boolean:
  guests:
logger:
  default: warning
"""
_HTTP: Final = """\
http:
  server_host: 127.0.0.1
  server_port: {port}
"""
_LONGEST_DIALOG: Final = 5
"""Pages of a dialog."""
Answer = dict[str, Any]


class Server:
    """A Home Assistant of its own, on a port of 127.0.0.1.

    Args:
        program: the program ``hass``.
        release: its version.
        folder: for its configuration; the first start is its onboarding.
    """

    def __init__(self, program: Path, release: Release, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := find_free_port())}"
        self.folder = folder
        self.release = release
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self._http = httpx2.Client(base_url=self.url, timeout=60)
        folder.mkdir(parents=True)
        configuration = _CONFIGURATION
        if release.has_default_integrations:
            # It asks a person to confirm an address of configuration.yaml.
            (folder / ".storage").mkdir()
            (folder / ".storage" / "http").write_text(json.dumps(_stored_address(port)))
        else:
            configuration += _HTTP.format(port=port)
        (folder / "configuration.yaml").write_text(configuration)
        (folder / "automations.yaml").write_text("[]\n")

    def start(self) -> float:
        """Start it, and wait until it answers; return the seconds that it took."""
        begun_s = time.monotonic()
        with (self.folder / "hass.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._program), "--config", str(self.folder)),
                    *("--skip-pip", "--log-no-color"),
                ],
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(self.folder)},
            )
        wait_until(self._answers, "Home Assistant answers", START_S)
        return time.monotonic() - begun_s

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it as a service manager does, or by another signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def log(self) -> str:
        """Return its warnings and errors."""
        return (self.folder / "hass.log").read_text("utf-8", "replace")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-4000:]
        try:
            return self._http.get("/manifest.json").is_success
        except httpx2.HTTPError:
            return False

    def onboard(self) -> None:
        """Create the first user, as the page of the first start does; the token lasts a year."""
        client_id = f"{self.url}/"
        user = {"name": "Owner", "username": "owner", "password": "owner-test", "language": "en"}
        code = self._post("/api/onboarding/users", user | {"client_id": client_id})["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": client_id}
        answer = self._http.post("/auth/token", data=form).raise_for_status()
        self._token = answer.json()["access_token"]
        # The step `core_config` is left out: it starts integrations that use the Internet.
        with self.socket() as socket:
            self._token = socket.call(
                "auth/long_lived_access_token", client_name="earmark", lifespan=365
            )
        self._http.headers["Authorization"] = f"Bearer {self._token}"

    @property
    def token(self) -> str:
        """Long-lived access token of the first user."""
        return self._token

    def browser_tokens(self) -> Answer:
        """Return what a browser stores after a login as this user."""
        return {
            "access_token": self._token,
            "refresh_token": "",
            "token_type": "Bearer",
            "hassUrl": self.url,
            "clientId": f"{self.url}/",
            "expires_in": 1800,
            "expires": 4_000_000_000_000,
        }

    def socket(self) -> "Socket":
        """Open a WebSocket with this user's rights."""
        return Socket(self.url.replace("http", "ws") + "/api/websocket", self._token)

    def call(self, kind: str, **fields: object) -> Any:  # noqa: ANN401 - JSON of many shapes
        """Send one command over a WebSocket of its own; return its result."""
        with self.socket() as socket:
            return socket.call(kind, **fields)

    def state(self, entity: str) -> Answer | None:
        """Return the state of an entity, or None if there is none."""
        answer = self._http.get(f"/api/states/{entity}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def act(self, domain: str, action: str, **fields: object) -> None:
        """Perform an action."""
        self._post(f"/api/services/{domain}/{action}", fields)

    def render(self, template: str) -> str:
        """Return the text that Home Assistant makes of a template."""
        answer = self._http.post("/api/template", json={"template": template})
        return answer.raise_for_status().text

    def upload(self, file: Path) -> str:
        """Upload a file for a dialog; return its id."""
        with file.open("rb") as content:
            answer = self._http.post("/api/file_upload", files={"file": (file.name, content)})
        return str(answer.raise_for_status().json()["file_id"])

    def set_up(self, handler: str, values: Answer, *, is_advanced: bool = False) -> list[list[str]]:
        """Fill in the pages of the dialog that adds an integration; return the fields of each page.

        A field that is not in ``values`` keeps the value that the dialog proposes.
        """
        begin = {"handler": handler, "show_advanced_options": is_advanced}
        step = self._post("/api/config/config_entries/flow", begin)
        shown: list[list[str]] = []
        while step["type"] != "create_entry":
            if step["type"] == "menu":
                choice = {"next_step_id": step["menu_options"][0]}
                step = self._post(f"/api/config/config_entries/flow/{step['flow_id']}", choice)
            assert step["type"] == "form", step
            assert len(shown) < _LONGEST_DIALOG, step
            shown.append(_field_names(step["data_schema"]))
            answer = _fill_in(step["data_schema"], values)
            step = self._post(f"/api/config/config_entries/flow/{step['flow_id']}", answer)
        return shown

    def remove(self, handler: str) -> None:
        """Remove the entry of an integration."""
        for entry in self.call("config_entries/get", domain=handler):
            path = f"/api/config/config_entries/entry/{entry['entry_id']}"
            self._http.delete(path).raise_for_status()

    def _post(self, path: str, content: object) -> Any:  # noqa: ANN401 - JSON of many shapes
        answer = self._http.post(path, json=content)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()


def _fill_in(fields: list[Answer], values: Answer) -> Answer:
    """Return what is sent for a page; a section of the page is an object in it."""
    answer: Answer = {}
    for field in fields:
        name = field["name"]
        if "schema" in field:
            answer[name] = _fill_in(field["schema"], values)
        elif (value := values.get(name, field.get("default"))) is not None:
            answer[name] = value
    return answer


def _field_names(fields: list[Answer]) -> list[str]:
    names: list[str] = []
    for field in fields:
        names += _field_names(field["schema"]) if "schema" in field else [field["name"]]
    return names


def _stored_address(port: int) -> Answer:
    """Return the file in which newer versions keep their address."""
    stable: Answer = {
        "server_port": port,
        "server_host": ["127.0.0.1"],
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        "created_at": "2026-01-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    data = {"stable": stable, "pending": None, "yaml_migration_done": True}
    return {"version": 3, "minor_version": 1, "key": "http", "data": data}


class Socket:
    """A WebSocket of Home Assistant.

    Args:
        url: its address.
        token: access token of a user.
    """

    def __init__(self, url: str, token: str) -> None:
        self._socket: ClientConnection = connect(
            url, max_size=None, open_timeout=60, ping_interval=None
        )
        self._ids = itertools.count(1)
        hello = self._receive()
        self.version = str(hello["ha_version"])
        self._socket.send(json.dumps({"type": "auth", "access_token": token}))
        assert self._receive()["type"] == "auth_ok"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def call(self, kind: str, **fields: object) -> Any:  # noqa: ANN401 - JSON of many shapes
        """Send a command; return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "type": kind} | fields))
        while True:
            answer = self._receive()
            if answer.get("id") == number and answer["type"] == "result":
                assert answer["success"], answer["error"]
                return answer["result"]

    def answer_text(self, text: str, device_id: str) -> str:
        """Let Assist carry out a text for a device; return what it answers."""
        number = next(self._ids)
        fields = {
            "start_stage": "intent",
            "end_stage": "intent",
            "input": {"text": text},
            "device_id": device_id,
        }
        self._socket.send(json.dumps({"id": number, "type": "assist_pipeline/run"} | fields))
        speech = ""
        while True:
            event = self._receive().get("event", {})
            if event.get("type") == "intent-end":
                response = event["data"]["intent_output"]["response"]
                speech = str(response["speech"]["plain"]["speech"])
            if event.get("type") == "run-end":
                return speech

    def _receive(self) -> Answer:
        answer: Answer = json.loads(self._socket.recv(60))
        return answer
