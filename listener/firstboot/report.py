"""Report of a first boot, as a text file for people. Pure; it holds no secret."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.firstboot.partition import CHALLENGE, NAME

WIDTH: Final = 76


@dataclass(slots=True)
class FirstBootReport:
    """Report, filled step by step. Text after a newline in an item is to be typed or copied.

    Args:
        taken: steps that were done.
        wrong: errors, with hints.
        waiting: steps that are retried automatically.
        todo: steps for the reader.
        speaker: name and public key of the speaker.
    """

    taken: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    speaker: list[str] = field(default_factory=list)

    def fault(self, error: EarmarkError) -> None:
        """Add an error with its hint."""
        self.wrong.append(f"{error}." + (f" Hint: {error.hint}." if error.hint else ""))

    @classmethod
    def render_wrong_file(cls, error: ConfigError) -> "FirstBootReport":
        """Return the report for a file with an error, of which nothing was applied."""
        report = cls()
        report.fault(error)
        report.todo.append(
            f"Correct {NAME}, which is still on this card, and start the speaker again."
            " Nothing of it was applied."
        )
        return report

    @classmethod
    def render_other_names(cls, names: Sequence[str]) -> "FirstBootReport":
        """Return the report for files that were not applied because of their names."""
        report = cls()
        report.wrong.append(f"Nothing was applied: there is no file {NAME} on this card.")
        report.todo.append(
            f"Rename the file to {NAME} and start the speaker again. Delete or rename the others:"
            + "".join(f"\n{name}" for name in names)
        )
        return report

    def ask(self, owner: str) -> None:
        """Add the steps by which an owner answers the challenge on the card."""
        self.todo += [
            (
                f"{owner}: on the computer that has your secret key, decrypt the challenge:"
                f"\nage -d -i {owner}.key {CHALLENGE}"
            ),
            (
                f"If it prints {owner}: and 24 letters and digits, copy this line into a new file"
                f" {NAME} on this card, and nothing else that it prints:"
                f'\n[owner]\nanswer = "{owner}:..."'
            ),
            (
                "Start the speaker with the card again. Until then it makes no clips, because it"
                " is not confirmed that you can open them."
            ),
        ]

    def wait_for_household(self, error: Unavailable, name: str) -> None:
        """Add why a speaker has not joined, and the steps that help.

        Args:
            error: why.
            name: of the speaker.
        """
        self.waiting += [
            f"joining the household: {error}",
            (
                "The archive's computer must be on, in the same network, and waiting:"
                "\nearmark household wait"
            ),
            (
                "The join line is valid for an hour. This command prints another one:"
                f"\nearmark household add-device {name}"
            ),
        ]

    def text(self) -> str:
        """Return the report as text."""
        parts = [f"Earmark: {self._verdict()}"]
        for title, lines in (
            ("Done", self.taken),
            ("Errors", self.wrong),
            ("Retried automatically", self.waiting),
            ("Next steps for you", self.todo),
            ("This speaker", self.speaker),
        ):
            if lines:
                parts.append(f"{title}:\n" + "\n".join(_item(line) for line in lines))
        return "\n\n".join(parts) + "\n"

    def _verdict(self) -> str:
        if self.wrong:
            return "there is an error, see below"
        if self.waiting:
            return "the setup is not complete yet, see below"
        if self.todo:
            return "one step is left for you"
        return "this speaker is set up"


def _item(line: str) -> str:
    text, *copied = line.split("\n")
    # Keys are not broken, and text to be copied stays on its line.
    wrapped = textwrap.fill(
        text,
        WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([wrapped, *(f"        {copy}" for copy in copied)])
