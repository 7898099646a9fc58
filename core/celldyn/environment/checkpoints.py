"""What a training keeps on its way: one file every so many updates, and who was trained on.

Names are the reference's: `<name>-<update:04>`, and `<name>.mask` beside them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.importing import import_celltrip
from celldyn.environment.mask_file import write_mask
from celldyn.environment.opening import is_ours
from celldyn.environment.saved import SUFFIX, load, save
from celldyn.errors import ConfigError, FileFormatError


class Checkpoints:
    """Keeps environments in a folder; `train_job` calls it.

    Parameters
    ----------
    folder
        Where to; made when it is first needed.
    name
        What files begin with.
    keep
        How many of the newest stay; None keeps all.

    Raises
    ------
    ConfigError
        If the name is none that a file can have, or `keep` is below 1.
    """

    def __init__(self, folder: Path | str, name: str, keep: int | None = None) -> None:
        if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", ".."):
            raise ConfigError(f"{name!r} is no name of a checkpoint", "give a word")
        if keep is not None and keep < 1:
            raise ConfigError(f"{keep} checkpoints are to be kept", "keep at least 1")
        self.folder, self.name, self.keep = Path(folder), name, keep
        self.written: list[Path] = []

    def __call__(self, fitted: FittedEnvironment) -> Path:
        """Write an environment whole, with all that training needs to go on from it."""
        if not self.written and fitted.train_mask is not None:
            write_mask(self.folder / f"{self.name}.mask", fitted.train_mask)
        path = save(fitted, self.folder / f"{self.name}-{fitted.updates:04}{SUFFIX}")
        if path not in self.written:
            self.written.append(path)
        while self.keep is not None and len(self.written) > self.keep:
            self.written.pop(0).unlink(missing_ok=True)
        return path


def newest(folder: Path | str, name: str | None = None) -> Path:
    """Return the newest checkpoint of a folder: that after the most updates.

    Parameters
    ----------
    folder
        Where `Checkpoints` wrote.
    name
        Of this name only.

    Raises
    ------
    FileFormatError
        If there is none.
    """
    pattern = re.compile(r"(.+)-(\d{4,})" + re.escape(SUFFIX))
    found = []
    for path in Path(folder).glob(f"*{SUFFIX}"):
        parts = pattern.fullmatch(path.name)
        if parts and (name is None or parts[1] == name):
            found.append((int(parts[2]), path.stat().st_mtime, path))
    if not found:
        raise FileFormatError(f"{folder} holds no checkpoint", "give the file of one")
    return max(found)[2]


def open_checkpoint(path: Path | str, *, heads: int = 2) -> FittedEnvironment:
    """Return the environment that a training goes on with.

    Parameters
    ----------
    path
        A file of ours; a folder, of which the newest checkpoint is taken; or a `.weights` file of
        CellTRIP with its `.pre` file, and perhaps its `.mask` file, beside it.
    heads
        Of a `.weights` file, which does not say it.

    Raises
    ------
    FileFormatError
        If there is none, or it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = newest(path)
    if not path.is_file():
        raise FileFormatError(f"the checkpoint {path} is not there", "check the path")
    if is_ours(path):
        return load(path)
    stem = re.sub(r"-\d+$", "", path.stem)
    pre, mask = path.with_name(f"{stem}.pre"), path.with_name(f"{stem}.mask")
    if not pre.is_file():
        raise FileFormatError(
            f"{path.name} has no preprocessing in it, and {pre.name} is not beside it",
            "put it there",
        )
    return import_celltrip(path, pre, mask if mask.is_file() else None, heads=heads)


def without_course(fitted: FittedEnvironment) -> FittedEnvironment:
    """Return an environment from whose networks alone a new training begins."""
    return replace(fitted, history=[], updates=0, timesteps=0, resume={})
