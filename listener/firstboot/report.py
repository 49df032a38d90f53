"""What a person reads afterwards, on any computer. Pure; no secret is ever in it."""

import textwrap
from dataclasses import dataclass, field
from typing import Final

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.firstboot.partition import CHALLENGE, NAME

WIDTH: Final = 76


@dataclass(slots=True)
class FirstBootReport:
    """Lines in plain words, gathered step by step.

    Args:
        taken: what was done.
        wrong: what was not, with what to do about it.
        waiting: what will be tried again by itself.
        todo: what the reader has to do. In all of them, what follows a line's end is to be copied.
        speaker: what the speaker is called and known by.
    """

    taken: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    speaker: list[str] = field(default_factory=list)

    def fault(self, error: EarmarkError) -> None:
        """Note what is wrong, and what to do."""
        self.wrong.append(f"{error}." + (f" Hint: {error.hint}." if error.hint else ""))

    @classmethod
    def render_wrong_file(cls, error: ConfigError) -> "FirstBootReport":
        """Return what is said where the file is wrong, so that nothing was done."""
        report = cls()
        report.fault(error)
        report.todo.append(
            f"Mend {NAME}, which is still on this card, and start the speaker again."
            " Nothing of it was taken in."
        )
        return report

    def ask(self, owner: str) -> None:
        """Note how the owner answers the challenge on the card."""
        self.todo += [
            (
                f"{owner}: on the computer that has your secret key, open the challenge:"
                f"\nage -d -i {owner}.key {CHALLENGE}"
            ),
            (
                f"Put what it prints into a new file {NAME} on this card, in these two lines:"
                f'\n[owner]\nanswer = "{owner}:..."'
            ),
            (
                "Start the speaker with the card again. Until then it makes no clips: nobody knows"
                " yet that you can open them."
            ),
        ]

    def wait_for_household(self, error: Unavailable, name: str) -> None:
        """Note why the speaker of this name has not joined, and what helps."""
        self.waiting += [
            f"joining the household: {error}",
            (
                "The archive's computer must be on, in the same network, and waiting:"
                "\nearmark household wait"
            ),
            (
                "The line is good for an hour. Another is printed by:"
                f"\nearmark household add-device {name}"
            ),
        ]

    def text(self) -> str:
        """Return all of it."""
        parts = [f"Earmark: {self._verdict()}"]
        for title, lines in (
            ("Taken in", self.taken),
            ("Wrong", self.wrong),
            ("Tried again by itself", self.waiting),
            ("What you do now", self.todo),
            ("This speaker", self.speaker),
        ):
            if lines:
                parts.append(f"{title}:\n" + "\n".join(_item(line) for line in lines))
        return "\n\n".join(parts) + "\n"

    def _verdict(self) -> str:
        if self.wrong:
            return "something is wrong, see below"
        if self.waiting:
            return "not everything is done yet, see below"
        if self.todo:
            return "one step is left, and it is yours"
        return "this speaker is set up"


def _item(line: str) -> str:
    said, *copied = line.split("\n")
    # Keys must stay in one piece, and what is to be typed or copied in one line.
    wrapped = textwrap.fill(
        said,
        WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([wrapped, *(f"        {text}" for text in copied)])
