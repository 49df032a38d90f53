"""Microphone process: read one device and write its sound to a pipe; run with ``python -m``.

It does nothing else. PortAudio and ALSA keep copies of sound in their memory after a stream is
closed; mute kills this process, and the kernel clears its pages. Records go to standard output, see
`protocol`; errors are records too.

It uses blocking reads, never a callback: sounddevice's callbacks need memory that is writeable and
executable, which the sandbox forbids.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from listener.errors import Unavailable
from listener.hear.child_process import harden
from listener.hear.microphone.devices import (
    InputDevice,
    PortAudio,
    Stream,
    cause_from_error,
    explain_missing,
    find_default_index,
    list_devices,
    load_portaudio,
    select_devices,
)
from listener.hear.microphone.protocol import (
    HEADER,
    Cause,
    RecordType,
    encode_failed,
    encode_opened,
    encode_overrun,
)
from listener.system.malloc import overwrite_freed_memory
from listener.system.memory_lock import lock_all_memory

OTHER_RATES_HZ: Final = (48_000, 44_100, 32_000, 96_000)
"""Rates to try after the wanted rate and the device's default rate."""
_UNAVAILABLE: Final = 69  # sysexits.h: EX_UNAVAILABLE

_Resample = Callable[[bytearray, int], Iterator[bytearray]]
"""Turns a block at the device's rate into blocks of at most so many samples at the wanted rate."""


class CaptureError(Exception):
    """The device does not open, or failed; carries the cause."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


def main(argv: Sequence[str] | None = None) -> int:
    """Write records until the reader closes the pipe or the device fails; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m listener.hear.microphone.process", description=__doc__
    )
    parser.add_argument("--device", required=True, help="default, an index or part of a name")
    parser.add_argument("--channel", type=int, required=True, help="channel to read, from 0")
    parser.add_argument("--rate-hz", type=int, required=True, help="sample rate of the records")
    parser.add_argument(
        "--block-samples", type=int, required=True, help="most samples in one record"
    )
    parser.add_argument(
        "--parent", type=int, required=True, help="pid of hear; this process ends with it"
    )
    arguments = parser.parse_args(argv)
    pipe = harden(arguments.parent)
    overwrite_freed_memory()
    lock_all_memory()
    try:
        with contextlib.suppress(BrokenPipeError):
            try:
                sound = load_portaudio()
                device = _find_device(sound, arguments.device)
                stream, channels = open_stream(sound, device, arguments.channel, arguments.rate_hz)
                _write(pipe, encode_opened(round(stream.samplerate), channels))
                run_capture(
                    sound,
                    stream,
                    lambda record: _write(pipe, record),
                    channels=channels,
                    channel=arguments.channel,
                    rate_hz=arguments.rate_hz,
                    block_samples=arguments.block_samples,
                )
            except CaptureError as error:
                _write(pipe, encode_failed(error.cause))
                return _UNAVAILABLE
            except (Unavailable, ModuleNotFoundError):
                _write(pipe, encode_failed(Cause.LIBRARY))
                return _UNAVAILABLE
        return 0
    finally:
        os.close(pipe)


def open_stream(
    sound: PortAudio,
    device: InputDevice,
    channel: int,
    rate_hz: int,
) -> tuple[Stream, int]:
    """Open and start a device: at the wanted rate if it offers that, else at another.

    Args:
        sound: the module from `devices.load_portaudio`.
        device: device to open.
        channel: channel to read, from 0.
        rate_hz: wanted rate.

    Returns:
        The running stream, and its number of channels.

    Raises:
        CaptureError: it does not open.
    """
    if channel >= device.channels:
        raise CaptureError(Cause.CHANNEL)
    causes = set()
    # A card without conversion opens only with all of its channels.
    for rate in dict.fromkeys((rate_hz, device.rate_hz, *OTHER_RATES_HZ)):
        for channels in dict.fromkeys((channel + 1, max(2, channel + 1), device.channels)):
            if channels > device.channels:
                continue
            try:
                stream = sound.RawInputStream(
                    device=device.number, samplerate=rate, channels=channels, dtype="int16"
                )
                stream.start()
            except sound.PortAudioError as error:
                causes.add(cause := cause_from_error(error))
                if cause not in (Cause.RATE, Cause.CHANNEL):
                    raise CaptureError(cause) from error
                continue
            return stream, channels
    raise CaptureError(Cause.RATE if Cause.RATE in causes else Cause.CHANNEL)


def run_capture(  # noqa: PLR0913 - the options of the process's command line
    sound: PortAudio,
    stream: Stream,
    write: Callable[[bytes | bytearray], None],
    *,
    channels: int,
    channel: int,
    rate_hz: int,
    block_samples: int,
) -> None:
    """Write one channel of a running stream as records, until ``write`` raises.

    Each copy of the sound in this process is overwritten as soon as it has been written.

    Args:
        sound: the module from `devices.load_portaudio`.
        stream: a ``sounddevice.RawInputStream`` of int16.
        write: takes whole records.
        channels: number of channels of the stream.
        channel: channel to read, from 0.
        rate_hz: sample rate of the records.
        block_samples: most samples in one record.

    Raises:
        CaptureError: the device failed.
    """
    own_hz = round(stream.samplerate)
    resample = _build_resampler(own_hz, rate_hz)
    length = max(1, block_samples * own_hz // rate_hz)
    zeros = bytes(length * channels * 2)
    while True:
        try:
            data, is_overrun = stream.read(length)
        except sound.PortAudioError as error:
            raise CaptureError(Cause.GONE) from error
        if is_overrun:
            write(encode_overrun())
        mono = bytearray(memoryview(data).cast("h")[channel::channels])
        data[:] = zeros
        for block in resample(mono, block_samples):
            record = bytearray(HEADER.pack(RecordType.SOUND, len(block)))
            record += block
            write(record)
            record[:] = bytes(len(record))
            block[:] = bytes(len(block))


def _build_resampler(own_hz: int, rate_hz: int) -> _Resample:
    """Return a function that converts blocks from the device's rate to the wanted rate."""
    if own_hz == rate_hz:
        return lambda mono, _longest: iter((mono,))
    # Imported only here: numpy doubles the start-up time. Its thread pool would be idle.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np  # noqa: PLC0415 - half the start-up
    import soxr  # noqa: PLC0415 - imports numpy too

    resampler = soxr.ResampleStream(own_hz, rate_hz, 1, dtype="float32", quality="HQ")
    full = float(1 << 15)

    def resample(mono: bytearray, longest: int) -> Iterator[bytearray]:
        scaled = np.frombuffer(mono, "<i2").astype(np.float32) / full
        mono[:] = bytes(len(mono))
        whole = np.rint(resampler.resample_chunk(scaled) * full).clip(-full, full - 1)
        samples = whole.astype("<i2")
        for at in range(0, len(samples), longest):
            yield bytearray(samples[at : at + longest].tobytes())

    return resample


def _find_device(sound: PortAudio, wanted: str) -> InputDevice:
    matches = select_devices(list_devices(sound), wanted, find_default_index(sound))
    if not matches:
        raise CaptureError(explain_missing(wanted))
    return matches[0]


def _write(pipe: int, record: bytes | bytearray) -> None:
    left = memoryview(record)
    while left:
        left = left[os.write(pipe, left) :]


if __name__ == "__main__":
    sys.exit(main())
