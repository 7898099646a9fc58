"""What a training did, as JSON lines: one event a line, as the seed's own log has them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from celldyn.data.words import reason
from celldyn.errors import ConfigError, FileFormatError

if TYPE_CHECKING:
    import pandas as pd

CONSOLE = "cli"
"""The name of a log that is printed."""

UPDATE = "Update"


class EventLog:
    """Write events to a file, or print them, a line each.

    Parameters
    ----------
    target
        A path, whose earlier lines stay, since a resumed training goes on with its log; or
        "cli", which prints.
    flush_iterations
        Updates of the policy between two writings; what waits is written when the log is closed.

    Raises
    ------
    FileFormatError
        If the file cannot be opened.
    ConfigError
        If `flush_iterations` is below 1.

    Notes
    -----
    It is called with one mapping an event; `Event` is its name. Numbers of NumPy and PyTorch
    become plain ones, and what is not finite becomes null: JSON knows neither. Each line has a
    `Timestamp` in UTC.
    """

    def __init__(self, target: Path | str = CONSOLE, flush_iterations: int = 1) -> None:
        if flush_iterations < 1:
            raise ConfigError(f"flush_iterations is {flush_iterations}", "give at least 1")
        self.flush_iterations = flush_iterations
        self._waiting: list[str] = []
        self._updates = 0
        self._owned = str(target) != CONSOLE
        self._stream: TextIO = _opened(Path(target)) if self._owned else sys.stdout

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        line = {"Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
        self._waiting.append(json.dumps(plain(line), ensure_ascii=False))
        self._updates += event.get("Event") == UPDATE
        if event.get("Event") != UPDATE or self._updates % self.flush_iterations:
            return
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        lines, self._waiting = "\n".join(self._waiting) + "\n", []
        try:
            self._stream.write(lines)
            self._stream.flush()
        except OSError as error:
            raise FileFormatError(
                f"the log could not be written ({reason(error)})",
                "check that the disk is not full, or train without a log",
            ) from error

    def close(self) -> None:
        """Write what waits, and let the file go."""
        try:
            self.flush()
        finally:
            if self._owned:
                self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _opened(path: Path) -> TextIO:
    """Open a log to go on with it, on a line of its own even where a writer was killed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size > 0 and not _ends_whole(path)
        stream = path.open("a", encoding="utf-8")
        if torn:
            stream.write("\n")
    except OSError as error:
        raise FileFormatError(
            f"the log {path} cannot be written ({reason(error)})", "check its folder"
        ) from error
    return stream


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return what JSON can hold: mappings, lists, texts and finite numbers."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if hasattr(value, "tolist"):  # an array or a tensor, of one number or of many
        return plain(value.tolist())
    return str(value)


def read_events(path: Path | str, event: str | None = None) -> list[dict[str, Any]]:
    """Return the events of a log, in order.

    Parameters
    ----------
    path
        What `EventLog` wrote. Lines that a killed writer left torn are passed over.
    event
        Only those of this name.

    Raises
    ------
    FileFormatError
        If there is no such file, or it has lines and none is an event.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise FileFormatError(
            f"the log {path} cannot be read ({reason(error)})", "check the path"
        ) from error
    found = [one for line in lines if (one := _event(line)) is not None]
    if any(line.strip() for line in lines) and not found:
        raise FileFormatError(f"{path.name} is no log of a training", "give a file of JSON lines")
    return found if event is None else [one for one in found if one.get("Event") == event]


def _event(line: str) -> dict[str, Any] | None:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict) and "Event" in held else None


def curve(path: Path | str, event: str = UPDATE) -> pd.DataFrame:
    """Return the learning curve of a log: one row an event, nested names joined by "/".

    Parameters
    ----------
    path
        What `EventLog` wrote.
    event
        "Update" or "Rollout".
    """
    import pandas as pd

    rows = read_events(path, event)
    for row in rows:
        row.pop("Event")
    return pd.json_normalize(rows, sep="/")
