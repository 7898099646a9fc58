"""An environment that CellTRIP trained, from its three files; nothing in them is run.

Source: specs/environment.md B ("Files"), D1.19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.environment.config import PRESETS, EnvironmentConfig
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.mask_file import read_mask
from celldyn.environment.reference_settings import named, read_settings
from celldyn.environment.reference_weights import ReadPolicy, build_policy, read_weights
from celldyn.errors import FileFormatError

if TYPE_CHECKING:
    from celldyn.environment.preprocessing import Preprocessing
    from celldyn.environment.preprocessing_map import LinearMap


def import_celltrip(
    weights: Path | str,
    pre: Path | str,
    mask: Path | str | None = None,
    *,
    heads: int = 2,
    spatial: Sequence[int] = (),
    feature_names: Sequence[Sequence[str]] | None = None,
) -> FittedEnvironment:
    """Return an environment of CellTRIP's files.

    Parameters
    ----------
    weights
        `<name>-<iteration>.weights`: the policy and its pinning networks.
    pre
        `<name>.pre`: the preprocessing.
    mask
        `<name>.mask`: which cells were trained on; None where it is not known.
    heads
        Heads of the attention, which no file says (CellTRIP's default is 2). Other heads give
        another policy, and nothing can notice.
    spatial
        Modalities that are coordinates, which no file says.
    feature_names
        Names of the raw features of each modality, which no file has; None takes numbers, and
        `with_names` the names of data.

    Returns
    -------
    The environment, whose notes say what of the files did not fit.

    Raises
    ------
    FileFormatError
        If a file is missing, damaged or names what could run, a layer is missing, or the files
        are of different models.
    ConfigError
        If heads do not divide the width of the policy.
    """
    settings = read_settings(pre, spatial)
    preprocessing = settings.preprocessing
    if feature_names is not None:
        preprocessing = named(preprocessing, feature_names)
    read = build_policy(read_weights(weights), heads=heads)
    inputs, targets = _roles(read, preprocessing, Path(weights).name)
    config = EnvironmentConfig(
        **{
            **PRESETS["seed"],
            "dim": read.policy.dim,
            "attention_heads": heads,
            "attention_blocks": len(read.policy.blocks),
            "input_modalities": list(inputs),
            "target_modalities": list(targets),
            "spatial": sorted(set(spatial)),
            "sample_counts": list(preprocessing.sample_counts),
            "log_modalities": list(preprocessing.log_modalities),
            "pca_dim": list(preprocessing.pca_dim),
        }
    )
    read.policy.config = config.policy
    return FittedEnvironment(
        config, read.policy, read.pinning, preprocessing, inputs, targets,
        tuple(sorted(set(spatial))), None if mask is None else read_mask(mask),
        notes=(
            f"Imported from {Path(weights).name} with {heads} heads of attention, as no file says "
            "how many there were.",
            *read.notes, *settings.notes,
        ),
    )  # fmt: skip


def _roles(
    read: ReadPolicy, preprocessing: Preprocessing, name: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which modalities are seen and told: the last ones are told, the others seen, or all.

    Raises
    ------
    FileFormatError
        If the sizes of the files do not fit each other.
    """
    sizes = preprocessing.n_features
    told = tuple(each.n_features for each in read.pinning)
    first = len(sizes) - len(told)
    if first < 0 or sizes[first:] != told:
        raise FileFormatError(
            f"{name} tells modalities of {_listed(told)} features, and the preprocessing gives "
            f"{_listed(sizes)}",
            "give the .weights and the .pre file of one model",
        )
    every = tuple(range(len(sizes)))
    for inputs in (every[:first], every):
        if inputs and sum(sizes[k] for k in inputs) == read.policy.n_features:
            return inputs, every[first:]
    raise FileFormatError(
        f"{name} sees {read.policy.n_features:,} features, and the preprocessing gives "
        f"{_listed(sizes)}",
        "give the .weights and the .pre file of one model",
    )


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(f"{size:,}" for size in sizes)


def has_names(each: LinearMap) -> bool:
    """Whether features have names, and not only numbers as those of imported files."""
    return each.names != tuple(map(str, range(each.n_raw)))


def with_names(fitted: FittedEnvironment, tables: Sequence[Any]) -> FittedEnvironment:
    """Return an environment whose features have the names of data; those with names keep them.

    Parameters
    ----------
    fitted
        The environment.
    tables
        An AnnData per modality; None where there is none, whose features keep their numbers.

    Raises
    ------
    FileFormatError
        If a table has another number of features.
    """
    maps = fitted.preprocessing.maps
    names = [
        each.names
        if has_names(each) or table is None or not hasattr(table, "var_names")
        else tuple(map(str, table.var_names))
        for each, table in zip(maps, tables, strict=False)
    ]
    if len(tables) != len(maps) or names == [each.names for each in maps]:
        return fitted  # as it is; a wrong number of tables is told where they are prepared
    return replace(fitted, preprocessing=named(fitted.preprocessing, names))
