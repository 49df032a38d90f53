"""Real servers of a fleet's storage: PostgreSQL of Debian, and SeaweedFS, which speaks S3.

Both keep their files in a temporary folder and listen on loopback. PostgreSQL refuses to run as
root; tests that run as root start it as an unprivileged user.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import obstore
import psycopg

from listener.archive.fleet.fleet_store import FleetStore, open_database
from listener.archive.fleet.object_blobs import ObjectBlobs, open_objects
from listener.archive.fleet.postgres import Postgres
from listener.archive.records import RowMac
from tests.system.conftest import wait_until

BUCKET: Final = "clips"
_ACCESS: Final = "earmark-test"
_SECRET: Final = "earmark-test-secret"  # noqa: S105 - of a server that this test starts
_NOBODY: Final = 65_534


def find_postgresql() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest version first; None without them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _free_ports(number: int) -> list[int]:
    """Return free ports whose successors by 10,000, which SeaweedFS takes too, are free."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < number:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                if port < 50_000:
                    second.bind(("127.0.0.1", port + 10_000))
                    ports.append(port)
    return ports


class PostgresServer:
    """A PostgreSQL server of its own. Its data survive ``kill``.

    Args:
        programs: folder of ``initdb`` and ``postgres``.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Other users cannot enter pytest's folder.
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-pg-"))
        self.data = self.folder / "data"
        (self.port,) = _free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, _NOBODY, _NOBODY)
        self._run("initdb", "-D", str(self.data), "-U", "earmark", "-A", "trust", "-E", "UTF8")

    @property
    def url(self) -> str:
        """URL of the database that ``create`` made last, or of ``postgres``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://earmark@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB"),
                    # After a kill it would sync each of its files by itself.
                    *("-c", "recovery_init_sync_method=syncfs"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
            )
        wait_until(self._answers, "PostgreSQL answers", patience_s=120)

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def create(self, database: str) -> str:
        """Create an empty database; return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'create database "{database}"')
        return self.url_of(database)

    def kill(self) -> None:
        """End it at once, with its children, as a power cut would."""
        if self._process is not None:
            # Its children end when they see that it is gone; a new one refuses to start before.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """End it without a checkpoint, and remove its files."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self._user,
            group=self._user,
        )

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text("utf-8", "replace")
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


class SeaweedServer:
    """A SeaweedFS server with one bucket. Its data survive ``kill``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-s3-"))
        self._ports = _free_ports(4)
        self._has_bucket = False
        self._process: subprocess.Popen[bytes] | None = None
        identity = {
            "name": "earmark",
            "credentials": [{"accessKey": _ACCESS, "secretKey": _SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which obstore finds the server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports[3]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _ACCESS,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
        }

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        master, volume, filer, s3 = self._ports
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("weed")),
                    *("server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *(f"-master.port={master}", f"-volume.port={volume}", "-volume.max=20"),
                    *("-master.volumeSizeLimitMB=256", "-volume.minFreeSpace=0"),
                    *("-filer", f"-filer.port={filer}"),
                    f"-filer.localSocket={self.folder / 'filer.sock'}",
                    *("-s3", f"-s3.port={s3}", f"-s3.config={self.folder / 's3.json'}"),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "SeaweedFS answers", patience_s=90)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        """Make the bucket, which is a folder of the filer, and look whether S3 answers."""
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text("utf-8", "replace")
        filer, s3 = self._ports[2:]
        with contextlib.suppress(OSError, http.client.HTTPException):
            if not self._has_bucket:  # refused for a folder that exists
                self._has_bucket = _ask(filer, "POST", f"/buckets/{BUCKET}/") < 300
            return self._has_bucket and _ask(s3, "GET", "/healthz") < 300
        return False


def _ask(port: int, method: str, path: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as peer:
        peer.request(method, path)
        return peer.getresponse().status


class Fleet:
    """Stores of several archive processes on one database and one part of the bucket."""

    def __init__(
        self, postgres: PostgresServer, seaweed: SeaweedServer, row_mac: RowMac | None = None
    ) -> None:
        self.postgres = postgres
        name = uuid.uuid4().hex
        self.database = f"fleet-{name}"
        self.url = postgres.create(self.database)
        self.objects_url = f"s3://{BUCKET}/{name}"
        self.objects = open_objects(self.objects_url, seaweed.environment)
        self.blobs = ObjectBlobs(self.objects)
        self.row_mac = row_mac
        self._opened: list[Postgres] = []

    def connect(self) -> Postgres:
        """Open the database as each archive process does."""
        opened = open_database(self.url, self.blobs)
        self._opened.append(opened)
        return opened

    def open(self, instance: str = "1") -> FleetStore:
        """Open the store of another archive process."""
        return FleetStore(self.connect(), self.blobs, instance, self.row_mac)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of all objects."""
        return sorted(
            meta["path"] for piece in obstore.list(self.objects, prefix) for meta in piece
        )

    def ask(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query with values."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
