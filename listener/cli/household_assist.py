"""``earmark household add-service assist``: certificate and configuration of voice control."""

import json
from pathlib import Path
from typing import Final

from listener.household import broker_config, identity
from listener.household.state import HouseholdStore
from listener.storage.home import PUBLIC, Home

ARCHIVE_HOME: Final = Path("/var/lib/earmark-archive")
ASSIST_HOME: Final = Path("/var/lib/earmark-assist")
"""Data directories of the services that systemd runs."""


def add_assist(store: HouseholdStore, home: Home, folder: Path, *, as_json: bool = False) -> int:
    """Create key and certificate of assist, and print its configuration.

    The certificate lets assist use the broker. It is not a right to hear anyone: each owner allows
    assist's service key, which assist makes itself, at each speaker.

    Args:
        store: the household.
        home: data directory with the roster, of which assist gets a copy where it has a folder.
        folder: folder for the files.
        as_json: print one JSON object, with the configuration as a text in it.
    """
    who = identity.ASSIST
    store.issue(who, folder)
    home.publish_roster()
    registry = store.registry()
    public = home.path / PUBLIC
    roster = public.resolve() if public.is_dir() else home.path
    own_home = home.path == ARCHIVE_HOME and ASSIST_HOME.is_dir()
    text = f'home = "{ASSIST_HOME}"\n\n' if own_home else ""
    text += f"""\
[broker]
{registry.broker_table(registry.broker_host)}ca_file = "{folder.absolute() / broker_config.CA}"
certificate_file = "{folder.absolute() / f"{who.cn}.crt"}"
key_file = "{folder.absolute() / f"{who.cn}.key"}"

[assist]
roster_folder = "{roster}"
url = "http://127.0.0.1:8123"
token_file = "{folder.absolute() / "token"}"
"""
    if as_json:
        row = {"identity": who.cn, "folder": str(folder.absolute()), "settings": text}
        print(json.dumps(row))
        return 0
    print("configuration of earmark assist, such as /etc/earmark/assist.toml:")
    print(text)
    print(f"write a long-lived access token of Home Assistant to {folder.absolute() / 'token'};")
    print("  reload the broker: systemctl reload mosquitto;")
    print("  start assist: systemctl enable --now earmark-assist")
    print("  show owners the key of this assist:")
    print("    earmark assist key --config /etc/earmark/assist.toml")
    return 0
