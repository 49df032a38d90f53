"""Probe process: check the microphone for `earmark doctor`; run with ``python -m``.

A separate process, confined as hear is: a process that reads sound has no network. It reads the
configuration from standard input as JSON, and writes findings to standard output as JSON, one a
line. Of the sound it reports levels only.
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
from listener.hear.hardware import landlock_paths
from listener.hear.microphone import devices
from listener.hear.probe import microphone, switch_movement
from listener.hear.probe.microphone import HINTS
from listener.hear.sealer import BUFFERS
from listener.hear.seccomp import apply_sandbox
from listener.quantities import quantity
from listener.system.findings import Check, Finding, to_json


def main(argv: Sequence[str] | None = None) -> int:
    """Write the findings; return 0, since the parent takes the verdicts from them."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.probe.probe_process", description=__doc__
    )
    parser.add_argument("--prove-mute", action="store_true")
    parser.add_argument("--throw-switch", action="store_true")
    arguments = parser.parse_args(argv)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=config.Config)
    findings = (
        iter((_check_confinement(settings), switch_movement.check_switch(settings.mute)))
        if arguments.throw_switch
        else check_microphone(settings, prove_mute=arguments.prove_mute)
    )
    for finding in findings:
        sys.stdout.write(to_json(finding) + "\n")
        sys.stdout.flush()
    return 0


def check_microphone(settings: config.Config, *, prove_mute: bool) -> Iterator[Finding]:
    """Yield findings for all that hear needs to record; nothing is recorded while muted.

    Args:
        settings: the configuration that hear would use.
        prove_mute: as in `microphone.probe_microphone`.
    """
    yield _check_confinement(settings)
    soft_bytes, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    yield check_memory(settings.clip, soft_bytes, is_root=os.geteuid() == 0)
    if settings.microphone.files:
        yield Check("microphone").warn(
            f"replaced by {quantity(len(settings.microphone.files), 'recording')}",
            "unset microphone.files",
        )
        return
    finding, sound = _load_portaudio()
    yield finding
    if sound is None:
        return
    yield from check_devices(sound, settings.microphone)
    yield from microphone.probe_microphone(settings, prove_mute=prove_mute)


def _check_confinement(settings: config.Config) -> Finding:
    is_required = settings.device.confinement == "required"
    try:
        landlock = apply_sandbox(landlock_paths(settings))
    except EarmarkError as error:
        return Check("confinement").finding(
            "fail" if is_required else "warn", str(error), error.hint
        )
    text = "hear can run without network and without core dumps"
    if landlock.version:
        text += f", and reaches no other files and processes (Landlock {landlock.version})"
        return Check("confinement", {"landlock": landlock.version}).ok(text)
    return Check("confinement", {"landlock": 0}).ok(
        f"{text}; files and processes of its own user are not closed to it: {landlock.reason}",
        "use a kernel with Landlock (5.13 or later), or the systemd unit, which hides them",
    )


def check_memory(settings: config.ClipSettings, limit_bytes: int, *, is_root: bool) -> Finding:
    """Return the finding whether the memory for sound can be locked (mlock).

    Args:
        settings: lengths of the ring and of a clip.
        limit_bytes: RLIMIT_MEMLOCK of this process.
        is_root: true for root, to whom the limit does not apply.
    """
    samples = settings.ring_s * SAMPLE_RATE_HZ + BUFFERS * longest_samples(settings)
    needed_kib = round(2 * samples / 1024) + (BUFFERS + 2) * resource.getpagesize() // 1024
    is_free = limit_bytes == resource.RLIM_INFINITY or is_root
    limit_kib = -1 if limit_bytes == resource.RLIM_INFINITY else limit_bytes // 1024
    check = Check("memory", {"needed_kib": needed_kib, "limit_kib": limit_kib})
    if is_free:
        text = "all memory for sound can be locked, including the microphone process"
        return check.ok(text)
    if limit_kib >= needed_kib:
        return check.ok(
            f"{needed_kib} KiB for sound can be locked; the microphone process cannot",
            "set LimitMEMLOCK=infinity to lock it as well; not needed without swap",
        )
    return check.fail(
        f"{needed_kib} KiB for sound must be locked, and the limit is {limit_kib} KiB",
        "set LimitMEMLOCK=infinity, or run ulimit -l unlimited",
    )


def _load_portaudio() -> tuple[Finding, devices.PortAudio | None]:
    try:
        sound = devices.load_portaudio()
    except (Unavailable, ModuleNotFoundError) as error:
        text = str(error) if isinstance(error, Unavailable) else "sounddevice is not installed"
        hint = error.hint if isinstance(error, Unavailable) else "pip install 'earmark[device]'"
        return Check("portaudio").fail(text, hint), None
    version = str(sound.get_portaudio_version()[1]).partition(",")[0]
    return Check("portaudio").ok(version), sound


def check_devices(
    sound: devices.PortAudio,
    settings: config.MicrophoneSettings,
) -> Iterator[Finding]:
    """Yield one finding for each input device, and one if the choice is missing or ambiguous.

    Args:
        sound: the module from `devices.load_portaudio`.
        settings: names the device to use.
    """
    known = devices.list_devices(sound)
    matches = devices.select_devices(known, settings.device, devices.find_default_index(sound))
    for device in known:
        is_native = devices.supports_rate(sound, device, settings.channel, SAMPLE_RATE_HZ)
        rate = "16 kHz" if is_native else f"{device.rate_hz} Hz, resampled to 16 kHz"
        is_chosen = device in matches[:1]
        yield Check("device").ok(
            f"{'*' if is_chosen else ' '} {device.number}  {device.name}:"
            f" {device.channels} channel{'s' * (device.channels != 1)}, {rate}",
            index=device.number,
            name=device.name,
            channels=device.channels,
            rate_hz=device.rate_hz,
            gives_16_khz=is_native,
            chosen=is_chosen,
        )
    if not matches:
        cause = devices.explain_missing(settings.device)
        yield Check("device").fail(f"{settings.device}: {CAUSES[cause]}", HINTS.get(cause, ""))
    elif len(matches) > 1:
        yield Check("device").warn(
            f"{settings.device} matches {len(matches)} devices; the first is used",
            "set microphone.device to a longer part of the name",
        )


if __name__ == "__main__":
    sys.exit(main())
