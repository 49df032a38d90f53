"""Results as pandas data frames, for notebooks; needs ``earmark[pandas]``."""

from typing import TYPE_CHECKING

from listener.errors import UsageError
from listener.evaluate.metrics.results import Result
from listener.evaluate.report.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd


def to_frame(result: Result, table: str = "rates") -> "pd.DataFrame":
    """Return a table of a result as a data frame, with the columns of the CSV file of that name.

    Args:
        result: a result.
        table: ``rates``, ``curve`` or ``events``.

    Raises:
        UsageError: there is no such table, or pandas is not installed.
    """
    if table not in TABLES:
        raise UsageError(f"there is no table {table!r}", f"use one of {', '.join(TABLES)}")
    try:
        import pandas as pd  # noqa: PLC0415 - takes a second, and is in an extra
    except ModuleNotFoundError as error:
        raise UsageError("pandas is not installed", "pip install 'earmark[pandas]'") from error
    made = TABLES[table](result)
    return pd.DataFrame(list(made.rows), columns=list(made.head))
