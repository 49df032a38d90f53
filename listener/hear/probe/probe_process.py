"""Look at the microphone on behalf of `earmark doctor`. ``python -m`` starts this module.

A process of its own, as confined as hear: whoever looks at sound does not look at the network. The
settings come in on standard input as JSON, findings go out on standard output, one a line. What is
found of sound is a few numbers.
"""

import argparse
import os
import resource
import sys
from collections.abc import Iterator, Sequence

import msgspec

from listener import config
from listener.audio.clip import longest_samples
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import EarmarkError, Unavailable
from listener.hear.events import CAUSES
from listener.hear.microphone import devices
from listener.hear.probe import microphone, switch_movement
from listener.hear.probe.microphone import HINTS
from listener.hear.sealer import BUFFERS
from listener.hear.seccomp import apply_sandbox
from listener.system.findings import Check, Finding, to_json


def main(argv: Sequence[str] | None = None) -> int:
    """Print findings; return 0, since they speak for themselves."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.probe.probe_process", description=__doc__
    )
    parser.add_argument("--prove-mute", action="store_true")
    parser.add_argument("--throw-switch", action="store_true")
    arguments = parser.parse_args(argv)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=config.Config)
    found = (
        iter((_confinement(settings.device), switch_movement.check_switch(settings.mute)))
        if arguments.throw_switch
        else check_microphone(settings, prove_mute=arguments.prove_mute)
    )
    for finding in found:
        sys.stdout.write(to_json(finding) + "\n")
        sys.stdout.flush()
    return 0


def check_microphone(settings: config.Config, *, prove_mute: bool) -> Iterator[Finding]:
    """Look at what hear needs; nothing is heard while anything mutes.

    Args:
        settings: what hear would run with.
        prove_mute: a person asks to listen *because* the switch in hardware says muted, in order
            to find out whether it cuts the microphone.
    """
    yield _confinement(settings.device)
    soft_bytes, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    yield check_memory(settings.clip, soft_bytes, is_root=os.geteuid() == 0)
    if settings.microphone.files:
        yield Check("microphone").warn(
            f"{len(settings.microphone.files)} recordings stand in for it", "microphone.files"
        )
        return
    found, sound = _load_devices()
    yield from found
    if sound is None:
        return
    yield from check_devices(sound, settings.microphone)
    yield from microphone.probe_microphone(settings, prove_mute=prove_mute)


def _confinement(settings: config.DeviceSettings) -> Finding:
    is_required = settings.confinement == "required"
    try:
        apply_sandbox()
    except EarmarkError as error:
        return Check("confinement").finding(
            "fail" if is_required else "warn", str(error), error.hint
        )
    return Check("confinement").ok("hear can be kept from the network and from dumps")


def check_memory(settings: config.ClipSettings, limit_bytes: int, *, is_root: bool) -> Finding:
    """Say whether the memory for sound can be locked.

    Args:
        settings: how much of it there is.
        limit_bytes: RLIMIT_MEMLOCK of this process.
        is_root: whether that does not count.
    """
    samples = settings.ring_s * SAMPLE_RATE_HZ + BUFFERS * longest_samples(settings)
    needed_kib = round(2 * samples / 1024) + (BUFFERS + 2) * resource.getpagesize() // 1024
    is_free = limit_bytes == resource.RLIM_INFINITY or is_root
    limit_kib = -1 if limit_bytes == resource.RLIM_INFINITY else limit_bytes // 1024
    check = Check("memory", {"needed_kib": needed_kib, "limit_kib": limit_kib})
    if is_free:
        text = "all memory for sound can be locked, the microphone's process as well"
        return check.ok(text)
    if limit_kib >= needed_kib:
        return check.ok(
            f"{needed_kib} KiB for sound can be locked; the microphone's process cannot",
            "LimitMEMLOCK=infinity locks that too; without swap it makes no difference",
        )
    return check.fail(
        f"{needed_kib} KiB for sound are to be locked, and {limit_kib} may be",
        "ulimit -l unlimited, LimitMEMLOCK=infinity",
    )


def _load_devices() -> tuple[list[Finding], devices.PortAudio]:
    try:
        sound = devices.load_portaudio()
    except (Unavailable, ModuleNotFoundError) as error:
        text = str(error) if isinstance(error, Unavailable) else "sounddevice is not installed"
        hint = error.hint if isinstance(error, Unavailable) else "pip install 'earmark[device]'"
        return [Check("portaudio").fail(text, hint)], None
    version = str(sound.get_portaudio_version()[1]).partition(",")[0]
    return [Check("portaudio").ok(version)], sound


def check_devices(
    sound: devices.PortAudio,
    settings: config.MicrophoneSettings,
) -> Iterator[Finding]:
    """List the devices, and say which of them is heard.

    Args:
        sound: what `devices.load_portaudio` returned.
        settings: which device is meant.
    """
    known = devices.list_devices(sound)
    meant = devices.select_devices(known, settings.device, devices.find_default_index(sound))
    for device in known:
        gives = devices.supports_rate(sound, device, settings.channel, SAMPLE_RATE_HZ)
        rate = "16 kHz" if gives else f"{device.rate_hz} Hz, resampled to 16 kHz"
        is_chosen = device in meant[:1]
        yield Check("device").ok(
            f"{'*' if is_chosen else ' '} {device.number}  {device.name}:"
            f" {device.channels} channel{'s' * (device.channels != 1)}, {rate}",
            index=device.number,
            name=device.name,
            channels=device.channels,
            rate_hz=device.rate_hz,
            gives_16_khz=gives,
            chosen=is_chosen,
        )
    if not meant:
        cause = devices.explain_missing(settings.device)
        yield Check("device").fail(f"{settings.device}: {CAUSES[cause]}", HINTS.get(cause, ""))
    elif len(meant) > 1:
        yield Check("device").warn(
            f"{settings.device} may mean {len(meant)} devices; the first is heard",
            "name more of it: microphone.device",
        )


if __name__ == "__main__":
    sys.exit(main())
