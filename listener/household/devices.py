"""The verb ``household``: which devices the archive believes."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener import config
from listener.actions import Actions
from listener.envelope import keys
from listener.home import Home

_ROUND: Final = """\
make a speaker known to the archive's computer:

  1  on the speaker; the first time makes its key
       earmark household this-device              prints: kitchen ed25519:...
  2  on the archive's computer
       earmark household add-device kitchen --key ed25519:...

Where both are one computer and one folder, both steps are still needed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what follows ``earmark household``."""
    actions = Actions(parser, epilog=_ROUND)
    this = actions.add("this-device", "print this device's name and public key")
    this.add_argument("--json", action="store_true", help="a JSON object")
    add = actions.add("add-device", "believe what a device signs")
    add.add_argument("name", metavar="NAME", help="the device's name in its own configuration")
    add.add_argument("--key", required=True, metavar="ed25519:...", help="its public key")
    listing = actions.add("devices", "show every device that is believed")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    forget = actions.add("forget-device", "believe a device no more, stolen or retired")
    forget.add_argument("name", metavar="NAME", help="the device to forget")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Do one action on the household's devices; return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, _Action] = {
        "this-device": _this_device,
        "add-device": _add_device,
        "devices": _devices,
        "forget-device": _forget_device,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _this_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
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


def _add_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    home.change_roster(lambda roster: roster.with_device(name, arguments.key))
    fingerprint = keys.device_id(keys.parse_device(arguments.key))
    print(f"{name} is believed; its key has the fingerprint {fingerprint}")
    return 0


def _devices(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    devices = home.roster().devices
    if arguments.json:
        for device in devices:
            print(json.dumps({"device": device.name, "dkey": device.dkey, "key": device.key}))
        return 0
    width = max((len(device.name) for device in devices), default=0)
    for device in devices:
        print(f"{device.name:<{width}}  {device.dkey}")
    if not devices:
        print("no devices yet; earmark household --help shows how one is made known")
    return 0


def _forget_device(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    home.change_roster(lambda roster: roster.without_device(name))
    print(f"{name} is forgotten: what it signs is refused from now on")
    return 0
