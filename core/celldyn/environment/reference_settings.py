"""The preprocessing of a CellTRIP model, from its `.pre` file; nothing in the file is run.

Shapes: K modalities, G raw features, G' of them kept, F features that a policy sees.
Source: specs/environment.md B ("Files") and C ("Preprocessing"), D1.3 and D1.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.inert import Bag, array_of, read_pickle
from celldyn.environment.preprocessing import Preprocessing
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.errors import CelldynError, FileFormatError

_REMEDY = "give the .pre file that was saved with the policy"
_MOST = 4096


@dataclass(frozen=True, slots=True, eq=False)
class ReadSettings:
    """What a `.pre` file holds.

    Parameters
    ----------
    preprocessing
        Fitted. Features have numbers for names, since the file has none.
    notes
        Sentences on what did not fit.
    """

    preprocessing: Preprocessing
    notes: tuple[str, ...]


def read_settings(path: Path | str, spatial: Sequence[int] = ()) -> ReadSettings:
    """Return the preprocessing of a `.pre` file.

    Parameters
    ----------
    path
        The file.
    spatial
        Modalities that are coordinates.

    Raises
    ------
    FileFormatError
        If it is missing, damaged, names anything but arrays and decompositions, or holds
        something else than a preprocessing.
    """
    held = read_pickle(path)
    try:
        if not isinstance(held, dict):
            raise ValueError("no settings")
        return settings_of(held, spatial)
    except FileFormatError:
        raise
    except (CelldynError, KeyError, TypeError, ValueError, IndexError, AttributeError,
            OverflowError) as error:  # fmt: skip
        raise FileFormatError(
            f"{Path(path).name} is no preprocessing, or it is damaged ({error})", _REMEDY
        ) from error


def settings_of(held: Mapping[str, Any], spatial: Sequence[int] = ()) -> ReadSettings:
    """Return the preprocessing that plain values describe; see `read_settings`."""
    n_modalities = _count(held)
    notes: list[str] = []
    maps = [_map(held, k, n_modalities, k in spatial, notes) for k in range(n_modalities)]
    known = {
        "sample_count", "pre_log", "standardize", "total_statistics", "top_variant", "pca_dim",
        "num_nodes", "is_sparse_transform", "standardize_mean", "standardize_std", "filter_mask",
        "pca_class", "modal_dims",
    }  # fmt: skip
    if unknown := sorted(str(key) for key in held if key not in known):
        notes.append(f"The settings have {', '.join(unknown[:6])}, of which nothing is made.")
    pca_dim = [
        0 if each.components is None else each.n_features for each in maps
    ]  # what the file asked for may be more than there was
    preprocessing = Preprocessing.of(
        maps,
        sample_counts=[each.count for each in maps],
        log_modalities=[k for k, each in enumerate(maps) if each.log],
        pca_dim=pca_dim,
        standardize=bool(held.get("standardize", True)),
        spatial=tuple(spatial),
    )
    return ReadSettings(preprocessing, tuple(notes))


def _count(held: Mapping[str, Any]) -> int:
    """Return K: how long the lists of the file are."""
    for key in ("modal_dims", "pca_class", "standardize_std", "is_sparse_transform"):
        values = held.get(key)
        if isinstance(values, list | tuple) or (
            isinstance(values, np.ndarray) and values.ndim == 1
        ):
            if not 0 < len(values) <= _MOST:
                raise ValueError(key)
            return len(values)
    raise ValueError("nothing says how many modalities there are")


def _of(held: Mapping[str, Any], key: str, k: int, n_modalities: int) -> Any:  # noqa: ANN401
    """Return what a setting is for a modality: one value is for all."""
    values = held.get(key)
    if isinstance(values, list | tuple):
        if len(values) == 1 and n_modalities > 1:
            return values[0]
        if len(values) != n_modalities:
            raise ValueError(key)
        return values[k]
    if isinstance(values, np.ndarray) and values.shape == (n_modalities,):
        return values[k].item()
    return values


def _map(
    held: Mapping[str, Any], k: int, n_modalities: int, spatial: bool, notes: list[str]  # noqa: FBT001
) -> LinearMap:  # fmt: skip
    """Return the map of one modality."""
    mask = _of(held, "filter_mask", k, n_modalities)
    bag = _of(held, "pca_class", k, n_modalities)
    components, centre = _decomposition(bag, k)
    mean, std = (
        None if value is None else np.asarray(array_of(value), np.float64).reshape(-1)
        for value in (
            _of(held, f"standardize_{part}", k, n_modalities) for part in ("mean", "std")
        )
    )
    n_raw, kept = _columns(mask, mean, std, components, _of(held, "modal_dims", k, n_modalities))
    if held.get("standardize") is False:
        mean = std = None
    if _of(held, "is_sparse_transform", k, n_modalities):
        mean = None
    if components is not None and components.shape[1] != len(kept):
        raise ValueError(f"modality {k} has components of {components.shape[1]} features")
    spread = _at(std, n_raw, kept, 1.0)
    if (spread <= 0).any():
        notes.append(
            f"Features of modality {k} that never varied are left at their distance from the mean."
        )
        spread = np.where(spread > 0, spread, 1.0)
    usual = np.zeros(n_raw)
    usual[kept] = _at(mean, n_raw, kept, 0.0)
    if mean is not None and len(mean) == n_raw:
        usual = mean
    if spatial and len(np.unique(spread)) > 1:
        notes.append(
            f"Modality {k} has coordinates that were scaled per axis, which changes their shape; "
            "models of before 2026-07-24 do."
        )
    return _checked(
        LinearMap(
            components,
            np.zeros(len(kept)) if centre is None else centre,
            _at(mean, n_raw, kept, 0.0),
            spread,
            kept,
            _is_logged(held, k, n_modalities),
            tuple(map(str, range(n_raw))),
            usual,
            float(_of(held, "sample_count", k, n_modalities) or 0.0),
            name=f"modality {k}",
        )
    )


def _decomposition(
    bag: Any, k: int  # noqa: ANN401
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:  # fmt: skip
    """Return components (F, G') and centre (G',) of a decomposition; None where there is none."""
    if bag is None or bag == 0:
        return None, None
    if not isinstance(bag, Bag) or bag.kind not in ("PCA", "IncrementalPCA", "TruncatedSVD"):
        raise ValueError(f"modality {k} has no decomposition that is known")
    if bag.get("whiten"):
        raise ValueError(f"the components of modality {k} are whitened, which policies are not")
    components = np.asarray(array_of(bag.get("components_")), np.float64)
    if components.ndim != 2:
        raise ValueError("components")
    centre = bag.get("mean_")
    if bag.kind == "TruncatedSVD" or centre is None:
        return components, None
    centre = np.asarray(array_of(centre), np.float64).reshape(-1)
    if len(centre) != components.shape[1]:
        raise ValueError("centre")
    return components, centre


def _columns(
    mask: Any,  # noqa: ANN401
    mean: NDArray[np.float64] | None,
    std: NDArray[np.float64] | None,
    components: NDArray[np.float64] | None,
    dims: Any,  # noqa: ANN401
) -> tuple[int, NDArray[np.intp]]:
    """Return G, and which raw columns are kept."""
    if mask is not None:
        chosen = array_of(mask).reshape(-1)
        if chosen.dtype.kind == "b":
            kept = np.flatnonzero(chosen)
            if not len(kept):
                raise ValueError("no feature is kept")
            return len(chosen), kept.astype(np.intp)
        raise ValueError("filter_mask")
    sizes = [len(one) for one in (mean, std) if one is not None and len(one) > 1]
    if components is not None:
        sizes.append(components.shape[1])
    if not sizes:
        sizes = [int(dims or 0)]
    if min(sizes) != max(sizes) or sizes[0] < 1:
        raise ValueError("its arrays are of different features")
    return sizes[0], np.arange(sizes[0], dtype=np.intp)


def _at(
    values: NDArray[np.float64] | None, n_raw: int, kept: NDArray[np.intp], default: float
) -> NDArray[np.float64]:
    """Return a statistic of the kept columns: of all columns, of these, or one for all."""
    if values is None:
        return np.full(len(kept), default)
    if len(values) == 1:
        return np.full(len(kept), float(values[0]))
    if len(values) == n_raw:
        return values[kept]
    if len(values) == len(kept):
        return values
    raise ValueError("a statistic is of other features")


def _is_logged(held: Mapping[str, Any], k: int, n_modalities: int) -> bool:
    """Whether a modality is logged: flags say it of each, numbers name those that are."""
    values = held.get("pre_log")
    if values is None or isinstance(values, bool):
        return bool(values)
    listed = np.asarray(values)
    if listed.size == 0:
        return False
    if listed.dtype.kind == "b":
        return bool(_of(held, "pre_log", k, n_modalities))
    if listed.dtype.kind not in "iu":
        raise ValueError("pre_log")
    return k in listed.reshape(-1).tolist()


def _checked(each: LinearMap) -> LinearMap:
    arrays = each.arrays().values()
    if not all(np.isfinite(array).all() for array in arrays) or not 0 <= each.count < np.inf:
        raise ValueError("a number is not finite")
    return each


def named(preprocessing: Preprocessing, names: Sequence[Sequence[str]]) -> Preprocessing:
    """Return a preprocessing whose features have these names, in the order of the raw columns.

    Raises
    ------
    FileFormatError
        If a modality has another number of features.
    """
    from dataclasses import replace

    maps = preprocessing.maps
    if len(names) != len(maps):
        raise FileFormatError(
            f"the model has {len(maps)} modalities, and {len(names)} were given",
            "give as many, in the same order",
        )
    made = []
    for k, (each, given) in enumerate(zip(maps, names, strict=True)):
        if len(given) != each.n_raw:
            raise FileFormatError(
                f"the model was trained on {each.n_raw:,} features of modality {k}, and the data "
                f"have {len(given):,}",
                "give data of the same features in the same order",
            )
        made.append(replace(each, names=tuple(map(str, given))))
    return Preprocessing.of(made, **preprocessing.options)
