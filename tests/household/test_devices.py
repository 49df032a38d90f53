import json
from collections.abc import Callable
from pathlib import Path

from listener.envelope import keys
from listener.storage.home import Home

Earmark = Callable[..., tuple[int, str, str]]


def test_a_device_tells_its_name_and_key_and_the_archive_takes_them(
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


def test_an_empty_list_shows_the_way(earmark: Earmark) -> None:
    assert "earmark household --help" in earmark("household", "devices")[1]


def test_a_forgotten_device_is_believed_no_more(earmark: Earmark, home: Path) -> None:
    key = earmark("household", "this-device")[1].split()[1]
    earmark("household", "add-device", "speaker", "--key", key)

    code, out, _ = earmark("household", "forget-device", "speaker")

    assert code == 0
    assert "refused from now on" in out
    assert Home(home).roster().devices == ()
    assert earmark("household", "forget-device", "speaker")[0] == 2


def test_a_key_that_is_none_is_refused_with_the_way(earmark: Earmark) -> None:
    code, _, err = earmark("household", "add-device", "kitchen", "--key", "kitchen")

    assert code == 78
    assert "earmark household this-device" in err


def test_a_damaged_device_key_is_said_and_kept(earmark: Earmark, home: Path) -> None:
    earmark("household", "this-device")
    (home / "device.key").write_bytes(b"damaged")

    code, out, err = earmark("household", "this-device")

    assert (code, out) == (78, "")
    assert "is damaged" in err
    assert (home / "device.key").read_bytes() == b"damaged"
