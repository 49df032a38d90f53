"""Which devices the archive believes: the actions of ``earmark household`` that need no broker."""

import argparse
import json
import sys

from listener import config
from listener.envelope import keys
from listener.storage.home import Home


def show_this_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Print this device's name and public key; the first time makes the key."""
    public = home.device_key().public_key()
    name, key = settings.device.name, keys.device_text(public)
    if arguments.json:
        print(json.dumps({"device": name, "dkey": keys.device_id(public), "key": key}))
        return 0
    print(f"{name} {key}", flush=True)
    print(
        f"earmark: on the archive's computer: earmark household add-device {name} --key {key}",
        file=sys.stderr,
    )
    return 0


def trust_device(home: Home, name: str, key: str) -> int:
    """Believe what a device signs, and say so.

    Raises:
        EarmarkError: name or key are unfit or taken.
    """
    home.change_roster(lambda roster: roster.with_device(name, key))
    fingerprint = keys.device_id(keys.parse_device(key))
    print(f"{name} is believed; its key has the fingerprint {fingerprint}")
    return 0


def list_devices(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """List every device that is believed."""
    del settings
    known = home.roster().devices
    if arguments.json:
        for device in known:
            print(json.dumps({"device": device.name, "dkey": device.dkey, "key": device.key}))
        return 0
    width = max((len(device.name) for device in known), default=0)
    for device in known:
        print(f"{device.name:<{width}}  {device.dkey}")
    if not known:
        print("no devices yet; earmark household --help shows how one is made known")
    return 0


def remove_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    """Believe a device no more."""
    del settings
    name: str = arguments.name
    home.change_roster(lambda roster: roster.without_device(name))
    print(f"{name} is forgotten: what it signs is refused from now on")
    return 0
