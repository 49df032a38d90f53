"""Changes of index rows behind the archive's back."""

from listener.archive.store import FileStore


def update_rows(store: FileStore, assignments: str) -> None:
    """Change every row of a store's index.

    Args:
        store: the store.
        assignments: the ``set`` clause of SQL: columns and new values.
    """
    rows = store._index.rows  # noqa: SLF001 - the archive offers no such function
    rows.execute(f"update clip set {assignments}")  # noqa: S608 - the tests' own constants


def delete_rows(store: FileStore) -> None:
    """Delete every row of a store's index."""
    store._index.rows.execute("delete from clip")  # noqa: SLF001 - as in `update_rows`
