"""Tables written where a person says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

if TYPE_CHECKING:
    import pandas as pd


def ask_and_write(parent: QWidget, table: pd.DataFrame, offered: str) -> Path | None:
    """Ask for a file and write a table there, as CSV; None where nobody wants one.

    Raises
    ------
    DataError
        If it cannot be written there.
    """
    path, _ = QFileDialog.getSaveFileName(parent, "Write the table", offered, "Tables (*.csv)")
    if not path:
        return None
    target = Path(path)
    target = target if target.suffix else target.with_suffix(".csv")
    write_table(table, target)
    return target


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all.

    Raises
    ------
    DataError
        If it cannot be written there.
    """
    from celldyn.errors import DataError
    from celldyn.persist import atomic_path

    try:
        with atomic_path(path) as draft:
            table.to_csv(draft, index=False)
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be written ({error.strerror or error})", "choose another folder"
        ) from None
