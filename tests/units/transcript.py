"""What the units were seen to do, as the tables in docs/sandbox.md. The same in each run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BEGIN: Final = "<!-- seen: written by make system-units -->"
END: Final = "<!-- end of what was seen -->"


@dataclass(slots=True)
class Transcript:
    """Collects; writes at the end."""

    system: str = ""
    kernel: str = ""
    scores: dict[str, str] = field(default_factory=dict)
    probes: dict[str, dict[str, str]] = field(default_factory=dict)
    flow: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds; printed and not written, since they are another each time."""

    def write(self, path: Path) -> None:
        """Replace what stands between the marks."""
        before, _, rest = path.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        path.write_text(f"{before}{BEGIN}\n\n{self.text()}\n{END}{after}", "utf-8")

    def text(self) -> str:
        """Return the tables."""
        lines = [f"Seen under {self.system}, in namespaces on a kernel {self.kernel}.", ""]
        lines += [f"- `earmark-{unit}`: exposure {score}" for unit, score in self.scores.items()]
        lines += [f"- {step}" for step in self.flow]
        names = list(dict.fromkeys(name for one in self.probes.values() for name in one))
        units = list(self.probes)
        lines += ["", "| tried | " + " | ".join(units) + " |", "|---" * (len(units) + 1) + "|"]
        for name in names:
            cells = [self.probes[unit].get(name, "").replace("|", "/") for unit in units]
            lines.append(f"| {name} | " + " | ".join(cell or " " for cell in cells) + " |")
        return "\n".join(lines) + "\n"
