"""Small tissues that come with the package, made by its simulator: ground truth included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.data.words import listed
from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

_ENDING = ".h5ad"


def folder() -> Path:
    """Return where the samples lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "sample_data"
    return installed if installed.is_dir() else package.parents[1] / "sample_data"


def names() -> list[str]:
    """Return the names of the sample tissues, in the order of the alphabet."""
    return sorted(file.name.removesuffix(_ENDING) for file in folder().glob(f"*{_ENDING}"))


def path(name: str) -> Path:
    """Return the file of a sample.

    Parameters
    ----------
    name
        One of `names()`, or the full name of a file beside them ("grn.csv").

    Raises
    ------
    MissingKeyError
        If there is none of that name; it lists those there are.
    """
    for file in (folder() / f"{name}{_ENDING}", folder() / name):
        if file.parent == folder() and file.is_file():
            return file
    raise MissingKeyError(f"there is no sample {name!r}", f"the samples are: {listed(names())}")


def load(name: str) -> AnnData:
    """Return a sample tissue, read into memory.

    Raises
    ------
    MissingKeyError
        If there is none of that name.
    """
    from celldyn.data.reading import read

    return read(path(name))
