"""The archive's port for a proxy: its certificate opens it, and nothing else does."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.archive.http_server import HttpServer
from listener.config import ArchiveSettings
from listener.errors import ConfigError
from listener.household import ca, identity
from listener.household.identity import HouseholdIdentity
from tests.ports import find_free_port

pytestmark = pytest.mark.system  # real servers and TLS


async def _report_client(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    client = None if request.client is None else request.client.host
    await JSONResponse({"client": client})(scope, receive, send)


APP: ASGIApp = _report_client


class Household:
    """A certificate authority with certificates on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._now = datetime.now(UTC)
        self._authority = ca.new_authority(self._now)
        (folder / "ca.crt").write_bytes(ca.certificate_pem(self._authority.certificate))
        self.issue(identity.API, ("localhost",))

    def issue(self, who: HouseholdIdentity, hosts: tuple[str, ...] = ()) -> tuple[Path, Path]:
        key = ca.new_key()
        made = ca.issue_certificate(self._authority, who, key.public_key(), self._now, hosts)
        crt, pem = self.folder / f"{who.cn}.crt", self.folder / f"{who.cn}.key"
        crt.write_bytes(ca.certificate_pem(made))
        pem.write_bytes(ca.key_pem(key))
        return crt, pem


@pytest.fixture
def authority(tmp_path: Path) -> Household:
    return Household(tmp_path)


@pytest.fixture
def settings(authority: Household) -> ArchiveSettings:
    crt, _ = authority.issue(identity.PROXY)
    return ArchiveSettings(
        port=find_free_port(),
        certificate_file=str(authority.folder / "s-api.crt"),
        key_file=str(authority.folder / "s-api.key"),
        proxy_port=find_free_port(),
        proxy_certificate_file=str(crt),
    )


@pytest.fixture
def server(home: Path, settings: ArchiveSettings) -> Iterator[HttpServer]:
    made = HttpServer(APP, home, settings)
    made.start()
    yield made
    made.stop()


def get(authority: Household, port: int, who: HouseholdIdentity | None = None) -> object:
    context = ssl.create_default_context(cafile=str(authority.folder / "ca.crt"))
    if who is not None:
        crt, key = authority.folder / f"{who.cn}.crt", authority.folder / f"{who.cn}.key"
        context.load_cert_chain(crt, key)
    headers = {"x-forwarded-for": "203.0.113.7", "forwarded": "for=203.0.113.7"}
    with httpx2.Client(verify=context) as client:
        return client.get(f"https://localhost:{port}/", headers=headers).json()


@pytest.mark.usefixtures("server")
def test_certificate_of_the_proxy_opens_its_port(
    authority: Household, settings: ArchiveSettings
) -> None:
    assert get(authority, settings.proxy_port, identity.PROXY) == {"client": None}


@pytest.mark.usefixtures("server")
def test_header_says_nothing_about_a_client(
    authority: Household, settings: ArchiveSettings
) -> None:
    assert get(authority, settings.port) == {"client": "127.0.0.1"}


@pytest.mark.usefixtures("server")
def test_other_certificates_of_the_household_are_refused(
    authority: Household, settings: ArchiveSettings
) -> None:
    for who in (identity.owner("ada"), identity.ARCHIVE, identity.PROXY):
        authority.issue(who)  # also another certificate with the proxy's name
        with pytest.raises(httpx2.HTTPError):
            get(authority, settings.proxy_port, who)


@pytest.mark.usefixtures("server")
def test_no_certificate_is_refused(authority: Household, settings: ArchiveSettings) -> None:
    with pytest.raises(httpx2.HTTPError):
        get(authority, settings.proxy_port)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.crt", "No such file"),
        ("s-proxy.key", "not a certificate"),
        ("ca.crt", "is the certificate of an authority"),
    ],
)
def test_wrong_file_is_an_error(
    home: Path, authority: Household, settings: ArchiveSettings, name: str, message: str
) -> None:
    wrong = _replace(settings, proxy_certificate_file=str(authority.folder / name))

    with pytest.raises(ConfigError, match=message):
        HttpServer(APP, home, wrong)


def test_port_without_a_certificate_is_an_error(home: Path, settings: ArchiveSettings) -> None:
    for missing in (
        _replace(settings, proxy_certificate_file=None),
        _replace(settings, certificate_file=None, key_file=None),
    ):
        with pytest.raises(ConfigError, match=r"archive\.proxy_port needs"):
            HttpServer(APP, home, missing)


def _replace(settings: ArchiveSettings, **fields: object) -> ArchiveSettings:
    return msgspec.structs.replace(settings, **fields)
