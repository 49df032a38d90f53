"""Who comes and who goes: what is said, the exit codes, and that nothing is done twice."""

import http.server
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from listener.cli import household_assist, household_clips
from listener.clips.remembered import RememberedClips, read_remembered
from listener.config import parse_settings
from listener.envelope import keys
from listener.household import identity, invitation, join_client
from listener.household.state import HouseholdStore
from listener.storage.home import Home
from tests.household.guests import contents, meet

pytestmark = pytest.mark.system  # a real household answers

Earmark = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", ["a/b", "+", "#", "..", "ha\0ll", "аda", "Hall", "archive"])  # noqa: RUF001 - a look-alike is the point
def test_name_invalid_in_a_topic_or_path_is_not_enrolled(
    ready: Earmark, home: Path, name: str
) -> None:
    before = contents(home)
    key = str(pyrage.x25519.Identity.generate().to_public())

    code, _, _ = ready("household", "add-device", name, "--no-wait")
    assert code == 2
    if name != "archive":
        assert ready("household", "add-owner", name, "--key", key, "--no-wait")[0] == 2

    assert contents(home) == before


def test_invitation_is_one_line_and_its_token_is_not_stored(ready: Earmark, home: Path) -> None:
    code, out, err = ready(
        "household", "add-device", "hall", "--area", "Hall", "--remote-unmute", "--no-wait"
    )

    assert code == 0
    invited = invitation.parse_line(out)
    assert len(out.splitlines()) == 1
    assert "systemctl reload mosquitto" in err
    assert not any(invited.token.encode() in data for data in contents(home).values())
    noted = HouseholdStore(home).registry().speaker("hall")
    assert (noted.area, noted.remote_unmute) == ("Hall", True)


def test_second_invitation_keeps_the_device_record(ready: Earmark, home: Path) -> None:
    ready("household", "add-device", "hall", "--area", "Hall", "--no-wait")
    ready("household", "add-device", "hall", "--no-wait")

    assert HouseholdStore(home).registry().speaker("hall").area == "Hall"


def test_area_name_with_a_newline_is_refused(ready: Earmark) -> None:
    assert ready("household", "add-device", "hall", "--area", "a\nb", "--no-wait")[0] == 2


def test_speaker_joins_and_gets_a_configuration(
    ready: Earmark, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "line").write_text(ready("household", "add-device", "hall", "--no-wait")[1])
    guest, settings = tmp_path / "guest", tmp_path / "guest.toml"
    words = ("--home", str(guest), "join", str(tmp_path / "line"), "--settings", str(settings))

    codes, _, err = meet(ready, capsys, *words)

    assert codes == (0, 0)
    assert "d-hall has joined" in err
    assert f"wrote the configuration {settings}" in err
    found = parse_settings(settings.read_text(), "the settings")
    assert found.device.name == "hall"
    assert found.broker.certificate_file == str(guest / "tls" / "me.crt")
    assert Home(home).roster().device_keys() == {"hall": Home(guest).device_key().public_key()}
    assert ready("household", "wait")[0] == 1


def join_as_ada(
    ready: Earmark, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[tuple[int, int], str, str]:
    key = str(pyrage.x25519.Identity.generate().to_public())
    out = ready("household", "add-owner", "ada", "--key", key, "--no-wait")[1]
    line = out.splitlines()[-1]
    return meet(ready, capsys, "--home", str(tmp_path / "laptop"), "join", line, *words)


def test_join_of_an_owner_is_remembered_for_clips(
    ready: Earmark,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    unused_port: int,
) -> None:
    monkeypatch.setattr(household_clips, "ARCHIVE_PORT", unused_port)
    identity_file = tmp_path / "ada.key"
    identity_file.write_text(f"{pyrage.x25519.Identity.generate()}\n")

    codes, _, err = join_as_ada(ready, tmp_path, capsys, "--identity", str(identity_file))

    laptop = tmp_path / "laptop"
    assert codes == (0, 0)
    assert read_remembered(laptop) == RememberedClips(
        owner="ada", identity=str(identity_file), ca=str(laptop / "tls" / "ca.crt")
    )
    # What is not known is asked for in one command.
    assert "earmark clips list --archive https://127.0.0.1:PORT --remember" in err


class AnsweringArchive:
    """What an archive answers to the request for its key, with the household's certificate."""

    def __init__(self, store: HouseholdStore, key: str) -> None:
        body = json.dumps({"archive": key, "head": {}}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*store.service(identity.API))
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.mark.parametrize("is_own", [True, False])
def test_join_remembers_the_archive_whose_key_is_in_the_line(
    ready: Earmark,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_own: bool,
) -> None:
    key = (Home(home) if is_own else Home(tmp_path / "other")).archive_key().public_key()
    archive = AnsweringArchive(HouseholdStore(home), keys.device_text(key))
    monkeypatch.setattr(household_clips, "ARCHIVE_PORT", archive.server.server_port)
    try:
        codes, _, err = join_as_ada(ready, tmp_path, capsys)
    finally:
        archive.end()

    address = f"https://127.0.0.1:{archive.server.server_port}"
    assert codes == (0, 0)
    assert read_remembered(tmp_path / "laptop").archive == (address if is_own else None)
    assert "earmark clips list --identity ada.key" in err


@pytest.mark.parametrize(("content", "code"), [("AGE-SECRET-KEY-1NOT\n", 78), (None, 78)])
def test_wrong_identity_file_leaves_the_invitation_unused(
    ready: Earmark,
    home: Path,
    tmp_path: Path,
    content: str | None,
    code: int,
) -> None:
    out = ready("household", "add-device", "hall", "--no-wait")[1]
    assert ready("household", "join", out.strip(), "--identity", "ada.key")[0] == 2
    key = str(pyrage.x25519.Identity.generate().to_public())
    line = ready("household", "add-owner", "ada", "--key", key, "--no-wait")[1].splitlines()[-1]
    if content is not None:
        (tmp_path / "ada.key").write_text(content)

    found = ready("household", "join", line, "--identity", str(tmp_path / "ada.key"))[0]

    assert found == code
    assert not any(one.used_by for one in HouseholdStore(home).registry().invitations)


@pytest.mark.parametrize("fits", [True, False])
def test_join_does_not_overwrite_a_configuration(
    ready: Earmark, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, fits: bool
) -> None:
    line = ready("household", "add-device", "hall", "--no-wait")[1].strip()
    guest, settings = tmp_path / "guest", tmp_path / "guest.toml"
    port = HouseholdStore(tmp_path / "home").registry().port
    right = join_client.JoinResult(identity.device("hall"), guest / "tls", "127.0.0.1", port)
    settings.write_text(right.settings() if fits else '[device]\nname = "speaker"\n')
    before = settings.read_text()
    common = ("--home", str(guest), "--config", str(settings))

    words = (*common, "join", line, "--settings", str(settings))
    codes, out, err = meet(ready, capsys, *words)

    assert codes == (0, 0)
    assert settings.read_text() == before
    assert ("needs no change" in err) == fits
    assert ('name = "hall"' in out) == (not fits)


def test_unreadable_invitation_is_reported(ready: Earmark, tmp_path: Path) -> None:
    assert ready("household", "join", str(tmp_path / "none"))[0] == 78
    (tmp_path / "other").write_text("hello")
    assert ready("household", "join", str(tmp_path / "other"))[0] == 2


def test_add_owner_prints_how_to_confirm_the_key(ready: Earmark, home: Path) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())

    code, out, _ = ready("household", "add-owner", "ada", "--key", key, "--no-wait")

    assert code == 0
    assert "earmark household add-owner ada --bundle ada.bundle\n" in out
    assert "earmark owner answer ada.bundle --identity ada.key\n" in out
    assert "earmark household confirm-owner ada.answers\n" in out
    assert invitation.parse_line(out.splitlines()[-1]).identity == identity.owner("ada")
    assert not Home(home).roster().known_owner("ada").active
    assert ready("household", "add-owner", "bob", "--no-wait")[0] == 2


def test_home_assistant_gets_three_files(ready: Earmark, tmp_path: Path) -> None:
    code, out, _ = ready("household", "add-service", "home-assistant", "--to", str(tmp_path / "ha"))

    assert code == 0
    assert {path.name for path in (tmp_path / "ha").iterdir()} == {
        "ca.crt",
        "s-home-assistant.crt",
        "s-home-assistant.key",
    }
    assert "s-home-assistant.key" in out


def test_assist_gets_its_files_and_a_configuration(
    ready: Earmark, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "assist"
    words = ("household", "add-service", "assist", "--to", str(tmp_path / "to"))
    monkeypatch.setattr(household_assist, "ASSIST_HOME", data)

    code, elsewhere, _ = ready(*words)
    assert code == 0
    assert "s-assist.crt" in {path.name for path in (tmp_path / "to").iterdir()}
    assert "earmark assist key --config" in elsewhere

    monkeypatch.setattr(household_assist, "ARCHIVE_HOME", home)
    data.mkdir()
    code, out, _ = ready(*words)
    text = out.partition("assist.toml:\n")[2].partition("write a long-lived")[0]

    assert code == 0
    assert Path(parse_settings(text, "assist.toml").home) == data
    assert out.replace(f'home = "{data}"\n\n', "") == elsewhere


def test_bridge_is_written_for_the_other_broker(ready: Earmark, tmp_path: Path) -> None:
    to, file = tmp_path / "ha", tmp_path / "bridge.conf"
    words = ("household", "add-service", "home-assistant", "--to", str(to))

    code, out, _ = ready(*words, "--bridge", str(file))
    assert code == 0
    assert f"bridge_keyfile {to}/s-home-assistant.key\n" in file.read_text()
    assert str(file) in out

    code, out, _ = ready(*words, "--bridge", str(file), "--bridge-folder", "/share/mosquitto")
    assert code == 0
    assert "bridge_keyfile /share/mosquitto/s-home-assistant.key\n" in file.read_text()
    assert f"move the files of {to} to /share/mosquitto" in out

    assert ready(*words, "--bridge-folder", "/share/mosquitto")[0] == 2
    assist = ("household", "add-service", "assist", "--to", str(to), "--bridge", str(file))
    assert ready(*assist)[0] == 2
    assert ready(*words, "--bridge", str(file), "--bridge-folder", "share")[0] == 2


def test_revoked_members_are_refused(ready: Earmark, home: Path) -> None:
    device = Home(home).device_key().public_key()
    ready("household", "add-device", "hall", "--key", keys.device_text(device))
    for who in (identity.device("hall"), identity.owner("ada"), identity.HOME_ASSISTANT):
        HouseholdStore(home).issue(who, home / "given")

    device_out = ready("household", "revoke", "d-hall")
    owner_out = ready("household", "revoke", "o-ada")
    service_out = ready("household", "revoke", "s-home-assistant")

    assert [told[0] for told in (device_out, owner_out, service_out)] == [0, 0, 0]
    assert Home(home).roster().devices == ()
    assert "earmark owner forget ada" in owner_out[1]
    for _, told, *_ in (device_out, owner_out, service_out):
        assert "the broker refuses its certificate and access rights once it is restarted" in told
    rights = (HouseholdStore(home).published().broker / "acl").read_text()
    assert not any(who in rights for who in ("d-hall", "o-ada", "s-home-assistant"))
    (HouseholdStore(home).published().broker / "acl").write_text("as before a power cut")
    assert ready("household", "revoke", "d-hall")[0] == 1
    assert (HouseholdStore(home).published().broker / "acl").read_text() == rights
    assert ready("household", "revoke", "s-archive")[0] == 2
    assert ready("household", "revoke", "hall")[0] == 2


def test_revoke_of_a_device_known_by_its_key_only_changes_nothing(
    ready: Earmark, home: Path
) -> None:
    device = Home(home).device_key().public_key()
    ready("household", "add-device", "hall", "--key", keys.device_text(device))

    code, out, err = ready("household", "revoke", "d-hall")

    assert (code, out) == (1, "")
    assert "d-hall has no certificate to revoke; its signature is still accepted" in err
    assert "earmark household forget-device hall" in err
    assert Home(home).roster().device_keys() == {"hall": device}
    assert ready("household", "forget-device", "hall")[0] == 0
    assert "choose one of" in ready("household", "revoke", "d-hall")[2]


def test_this_device_output_is_accepted_by_add_device(
    earmark: Earmark, home: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[device]\nname = "kitchen"\n')

    code, out, err = earmark("household", "this-device", "--config", str(settings))
    name, key = out.split()
    added = earmark("household", "add-device", name, "--key", key)

    assert (code, added[0], name) == (0, 0, "kitchen")
    assert f"add-device kitchen --key {key}" in err
    public = Home(home).device_key().public_key()
    assert Home(home).roster().device_keys() == {"kitchen": public}
    assert keys.device_id(public) in added[1]


def test_devices_are_listed_for_people_and_programs(earmark: Earmark) -> None:
    told = json.loads(earmark("household", "this-device", "--json")[1])
    earmark("household", "add-device", told["device"], "--key", told["key"])

    people = earmark("household", "devices")[1]
    objects = [
        json.loads(line) for line in earmark("household", "devices", "--json")[1].splitlines()
    ]

    assert people == f"speaker  {told['dkey']}\n"
    assert objects == [told]


def test_empty_list_shows_a_hint(earmark: Earmark) -> None:
    assert "earmark household --help" in earmark("household", "devices")[1]


def test_forgotten_device_is_refused(earmark: Earmark, home: Path) -> None:
    key = earmark("household", "this-device")[1].split()[1]
    earmark("household", "add-device", "speaker", "--key", key)

    code, out, _ = earmark("household", "forget-device", "speaker")

    assert code == 0
    assert "refused from now on" in out
    assert Home(home).roster().devices == ()
    assert earmark("household", "forget-device", "speaker")[0] == 2
    assert "  retired 20" in earmark("household", "devices")[1]
    (row,) = map(json.loads, earmark("household", "devices", "--json")[1].splitlines())
    assert (row["key"], row["last_seq"]) == (key, None)
    assert row["retired"] > 0


def test_key_of_a_device_removed_before_is_added(earmark: Earmark, home: Path) -> None:
    key = earmark("household", "this-device")[1].split()[1]

    code, out, _ = earmark("household", "forget-device", "bath", "--key", key)

    assert code == 0
    assert "its archived clips verify" in out
    assert Home(home).roster().device_keys() == {}
    assert [one.key for one in Home(home).roster().retired_devices] == [key]
    assert earmark("household", "forget-device", "bath", "--key", "ed25519:")[0] == 78


def test_invalid_key_is_refused_with_a_hint(earmark: Earmark) -> None:
    code, _, err = earmark("household", "add-device", "kitchen", "--key", "kitchen")

    assert code == 78
    assert "earmark household this-device" in err


def test_damaged_device_key_is_reported_and_kept(earmark: Earmark, home: Path) -> None:
    earmark("household", "this-device")
    (home / "device.key").write_bytes(b"damaged")

    code, out, err = earmark("household", "this-device")

    assert (code, out) == (78, "")
    assert "is damaged" in err
    assert (home / "device.key").read_bytes() == b"damaged"


def test_each_archive_and_the_proxy_get_a_certificate(
    ready: Earmark, home: Path, tmp_path: Path
) -> None:
    code, told, _ = ready(
        "household", "add-service", "archive", "--instance", "2", "--to", str(tmp_path / "two")
    )
    assert code == 0
    settings = parse_settings(told[told.index("[broker]") :], "add-service")
    assert settings.broker.certificate_file == str(tmp_path / "two" / "s-archive-2.crt")
    assert settings.archive.instance == 2
    acl = (home / "household" / "mosquitto" / "acl").read_text()
    assert "user s-archive-2\n" in acl
    assert "topic read earmark/v1/ack/+/+" in acl.partition("user s-archive-2\n")[2]

    assert ready("household", "add-service", "proxy", "--to", str(tmp_path / "p"))[0] == 0
    assert (tmp_path / "p" / "s-proxy.crt").exists()
    assert "s-proxy" not in (home / "household" / "mosquitto" / "acl").read_text()
    assert ready("household", "revoke", "s-archive-2")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("archive",), "archive needs --instance"),
        (("archive", "--instance", "0"), "archive needs --instance"),
        (("archive", "--instance", "100"), "archive needs --instance"),
        (("proxy", "--instance", "1"), "--instance is for archive only"),
        (("proxy", "--bridge", "x"), "--bridge is for home-assistant only"),
    ],
)
def test_wrong_options_of_a_service_are_refused(
    ready: Earmark, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, _, err = ready("household", "add-service", *words, "--to", str(tmp_path / "x"))

    assert code == 2
    assert message in err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (("a b",), "--broker: not a list of addresses"),
        (("b.lan", "b.lan:8884"), "--broker names a host twice"),
        (("b.lan:0",), "--broker: not a list of addresses"),
    ],
)
def test_wrong_brokers_are_refused(
    earmark: Earmark, home: Path, addresses: tuple[str, ...], message: str
) -> None:
    words = [word for address in addresses for word in ("--broker", address)]
    code, _, err = earmark("household", "init", *words)

    assert code == 2
    assert message in err
    assert not (home / "household").exists()
