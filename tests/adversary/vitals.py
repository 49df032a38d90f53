"""Memory, descriptors and log of a process over time, and their limits."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

MIB: Final = 1 << 20
_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
_QUARTER: Final = 4
_LEAST_SAMPLES: Final = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """Use of resources at one moment."""

    at_s: float
    """Seconds since the begin of the run."""
    rss_bytes: int
    descriptors: int
    log_bytes: int
    """Sizes of the process's log files together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a run's samples."""

    rss_bytes: int
    growth_bytes: int = 12 * MIB
    """Growth of the memory from the second quarter of the run to the last."""
    descriptors: int = 200
    log_bytes_per_s: float = 1024.0
    log_bytes: int = 256 << 10
    """Size of the log in addition to that of its rate."""


def read_sample(pid: int, at_s: float, logs: Iterable[Path] = ()) -> Sample | None:
    """Return the use of resources of a process; None if it has exited."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    log_bytes = sum(path.stat().st_size for path in logs if path.exists())
    return Sample(at_s, pages * _PAGE_BYTES, descriptors, log_bytes)


@dataclass(slots=True)
class Vitals:
    """Samples of one process, which may be restarted between them. For one thread."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample | None) -> None:
        """Add a sample, if there is one."""
        if sample is not None:
            self.samples.append(sample)

    def growth_bytes(self) -> float:
        """Return the rise of the median memory from the second quarter to the last, in bytes."""
        if len(self.samples) < _LEAST_SAMPLES:
            return 0.0
        rss = [sample.rss_bytes for sample in self.samples]
        quarter = len(rss) // _QUARTER
        return median(rss[-quarter:]) - median(rss[quarter : 2 * quarter])

    def slope(self, values: Sequence[float]) -> float:
        """Return the slope of the least-squares line through one value a sample, per second."""
        times = [sample.at_s for sample in self.samples]
        if len(times) < 2 or times[0] == times[-1]:
            return 0.0
        mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
        over = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True))
        return over / sum((t - mean_t) ** 2 for t in times)

    def judge(self, limits: Limits) -> list[str]:
        """Return the limits that were exceeded."""
        if not self.samples:
            return [f"{self.name}: there is no sample"]
        faults = []
        rss = max(sample.rss_bytes for sample in self.samples)
        descriptors = max(sample.descriptors for sample in self.samples)
        took_s = self.samples[-1].at_s - self.samples[0].at_s
        log = self.samples[-1].log_bytes - self.samples[0].log_bytes
        if rss > limits.rss_bytes:
            faults.append(f"{self.name}: {rss / MIB:.0f} MiB of memory")
        if (growth := self.growth_bytes()) > limits.growth_bytes:
            faults.append(f"{self.name}: memory grew by {growth / MIB:.1f} MiB")
        if descriptors > limits.descriptors:
            faults.append(f"{self.name}: {descriptors} descriptors")
        if log > limits.log_bytes + limits.log_bytes_per_s * took_s:
            faults.append(f"{self.name}: the log grew by {log} bytes in {took_s:.0f} s")
        return faults

    def summary(self) -> str:
        """Return one line: peak and slope of the memory, descriptors, log bytes a second."""
        if not self.samples:
            return f"{self.name}: no sample"
        rss = [float(sample.rss_bytes) for sample in self.samples]
        log = [float(sample.log_bytes) for sample in self.samples]
        return (
            f"{self.name}: at most {max(rss) / MIB:.1f} MiB,"
            f" {self.slope(rss) * 60 / MIB:+.2f} MiB a minute,"
            f" {max(sample.descriptors for sample in self.samples)} descriptors,"
            f" log {self.slope(log):+.0f} bytes a second"
        )
