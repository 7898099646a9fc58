"""An environment from files, whoever wrote them: ours by content, CellTRIP's by three names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.importing import import_celltrip
from celldyn.environment.mask_file import read_mask
from celldyn.environment.saved import load
from celldyn.errors import ConfigError, FileFormatError


def open_policy(
    policy_fname: Path | str,
    preprocessing_fname: Path | str | None = None,
    mask_fname: Path | str | None = None,
    *,
    heads: int = 2,
    spatial: Sequence[int] = (),
) -> FittedEnvironment:
    """Return the environment of a file of ours, or of CellTRIP's.

    Parameters
    ----------
    policy_fname
        What `save` or a training wrote; or a `.weights` file.
    preprocessing_fname
        The `.pre` file that belongs to a `.weights` file; a file of ours has its own
        preprocessing.
    mask_fname
        A `.mask` file: which cells were trained on, if other than the file of ours says.
    heads, spatial
        Of CellTRIP's files, which do not say them; see `import_celltrip`.

    Raises
    ------
    FileFormatError
        If a file is missing, damaged or something else.
    ConfigError
        If the preprocessing of a `.weights` file is missing, or one is given beside a file of
        ours.
    """
    path = Path(policy_fname)
    if not path.is_file():
        raise FileFormatError(f"{path} is not there", "check the path")
    if not is_ours(path):
        if preprocessing_fname is None:
            raise ConfigError(f"{path.name} has no preprocessing in it", "give its .pre file, too")
        return import_celltrip(path, preprocessing_fname, mask_fname, heads=heads, spatial=spatial)
    if preprocessing_fname is not None and Path(preprocessing_fname) != path:
        raise ConfigError(
            f"{path.name} has its own preprocessing", "leave preprocessing_fname out"
        )
    fitted = load(path)
    if mask_fname is None:
        return fitted
    n_cells = len(fitted.obs_names) or None
    return replace(fitted, train_mask=read_mask(mask_fname, n_cells))


def is_ours(path: Path | str) -> bool:
    """Whether a file is one of tensors with a JSON header, as ours are."""
    with Path(path).open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{"
