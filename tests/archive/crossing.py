"""An index that says what is not so."""

from listener.archive.store import FileStore


def cross(store: FileStore, what: str) -> None:
    """Change every row behind the archive's back, as a slip or a thief would.

    Args:
        store: whose index.
        what: SQL's ``set``: columns and their new values.
    """
    rows = store._index.rows  # noqa: SLF001 - nothing in the archive would do it
    rows.execute(f"update clip set {what}")  # noqa: S608 - the tests' own constants


def take_rows(store: FileStore) -> None:
    """Take every row away behind the archive's back."""
    store._index.rows.execute("delete from clip")  # noqa: SLF001 - as in `cross`
