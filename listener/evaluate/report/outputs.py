"""What a run leaves in its folder: the result, its tables, the page."""

from pathlib import Path
from typing import Final

import msgspec

from listener.errors import Unavailable
from listener.evaluate.rates.result import Result
from listener.evaluate.report.page import Sound, render_page
from listener.evaluate.report.tables import curve_csv, events_csv, rates_csv

TITLE: Final = "Wake-word evaluation"


def write_outputs(result: Result, folder: Path, sound: Sound | None = None) -> None:
    """Write everything; the same result gives the same bytes.

    Args:
        result: what was found.
        folder: made if it is not there.
        sound: gives the page the sound around each false wake; None for a page without.

    Raises:
        Unavailable: the folder cannot be written: it is full, or not ours.
    """
    contents = {
        "result.json": msgspec.json.format(msgspec.json.encode(result), indent=1),
        "rates.csv": rates_csv(result).encode(),
        "curve.csv": curve_csv(result).encode(),
        "events.csv": events_csv(result).encode(),
        "report.html": render_page(result, TITLE, sound).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise Unavailable(f"cannot write {error.filename or folder}: {error.strerror}") from error
