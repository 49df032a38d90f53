"""Tables of what the units did, for docs/engineering-log/sandbox.md. The same in each run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BEGIN: Final = "<!-- seen: written by make system-units -->"
END: Final = "<!-- end of what was seen -->"


@dataclass(slots=True)
class Transcript:
    """Collects; writes at the end."""

    system: str = ""
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
        lines = [f"Seen under {self.system}.", ""]
        lines += [
            f"- `earmark-{unit}`: exposure {self.scores[unit]}" for unit in sorted(self.scores)
        ]
        lines += [f"- {step}" for step in sorted(self.flow)]
        units = sorted(self.probes)
        names = list(dict.fromkeys(name for unit in units for name in self.probes[unit]))
        lines += ["", "| tried | " + " | ".join(units) + " |", "|---" * (len(units) + 1) + "|"]
        for name in names:
            cells = [_cell(name, self.probes[unit].get(name, " ")) for unit in units]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def _cell(name: str, came: str) -> str:
    """Return an outcome without what is another each time."""
    if name.startswith("lists ") and came.startswith("ok"):
        return "ok"
    if name == "makes files in":
        # The first of each branch: what is below it comes and goes.
        folders: list[str] = []
        for folder in came.removeprefix("ok: ").split():
            if not any(folder.startswith(one + "/") for one in folders):
                folders.append(folder)
        came = "ok: " + " ".join(folders)
    return "none" if came == "ok: " else came
