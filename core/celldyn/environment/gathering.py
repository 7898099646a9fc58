"""Data on their way to a policy: tables read, cells matched, prepared, split and put in order.

Shapes: n cells, K modalities, F_k features of each after preprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.data.words import counted
from celldyn.environment.config import DataConfig
from celldyn.environment.preprocessing import Preprocessing
from celldyn.environment.preprocessing_checks import check_indices
from celldyn.environment.remote_files import is_remote, read_remote
from celldyn.environment.splitting import obs_of, partitions_of, training_cells
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that training needs to know of the data.

    Parameters
    ----------
    modalities
        (n, F_k) float32 prepared features of each modality.
    preprocessing
        What prepared them.
    inputs, targets
        Modalities that cells see, and that their positions are to tell; rising.
    spatial
        Modalities that are coordinates.
    partition
        (n,) int64 which cells may meet: those of one number; 0 where all may.
    partition_names
        What each number stands for; empty where all may.
    train
        (n,) bool which cells are trained on.
    obs_names
        (n,) names of the cells.
    feature_names
        Names of the raw features of each modality.
    notes
        What a person should know, as sentences.
    """

    modalities: tuple[Tensor, ...]
    preprocessing: Preprocessing
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    spatial: tuple[int, ...]
    partition: NDArray[np.int64]
    partition_names: tuple[str, ...]
    train: NDArray[np.bool_]
    obs_names: tuple[str, ...]
    feature_names: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def n(self) -> int:
        """Cells."""
        return len(self.train)

    @property
    def seen(self) -> Tensor:
        """(n, F) features of the modalities that cells see, side by side."""
        return torch.cat([self.modalities[k] for k in self.inputs], dim=1)


def read_adatas(*paths: str | Path, backed: bool = False) -> list[AnnData]:
    """Read modalities, one file each; a MuData file gives all of its own.

    Parameters
    ----------
    paths
        `.h5ad`, `.zarr`, `.h5mu`, and whatever else `celldyn.data.read` takes; or the address of
        an `.h5ad` file on another machine, such as s3://bucket/cells.h5ad.
    backed
        Whether matrices stay where they are (`.h5ad`, `.zarr`, `.h5mu`), and are read in blocks.

    Raises
    ------
    FileFormatError
        If a file is not there, or damaged.
    DataError
        If one has no cells, no features or doubled names.
    """
    from celldyn.data import read

    if not paths:
        raise DataError("no file was named", "give one per modality")
    tables: list[AnnData] = []
    for given in paths:
        path = Path(given)
        if is_remote(given):
            tables.append(read_remote(str(given), backed=backed))
        elif path.suffix == ".h5mu":
            tables += _read_mudata(path, backed=backed)
        else:
            tables.append(read(path, backed=backed))
    return tables


def _read_mudata(path: Path, *, backed: bool) -> list[AnnData]:
    import mudata  # type: ignore[import-untyped]

    from celldyn.data.anndata_files import guarded
    from celldyn.errors import FileFormatError

    if not path.is_file():
        raise FileFormatError(f"{path} is not there", "check the path")
    with mudata.set_options(pull_on_update=False):
        whole = guarded(path, lambda: mudata.read_h5mu(path, backed="r" if backed else False))
    return modalities_of(whole)


def modalities_of(data: Any) -> list[AnnData]:  # noqa: ANN401
    """Return the modalities of a MuData, of one table or of several, with the same cells.

    Parameters
    ----------
    data
        A MuData; an AnnData; or several AnnData, arrays or sparse matrices, or collections of
        AnnData as one (anndata's AnnCollection).

    Returns
    -------
    AnnData each. Where cells stand in another order than in the first, they are put in its order.

    Raises
    ------
    DataError
        If there is none, a name of a cell stands twice, or modalities have different cells.
    """
    import anndata

    if hasattr(data, "mod"):
        named = [(f"modality {name!r}", each) for name, each in data.mod.items()]
    else:
        several = [data] if hasattr(data, "shape") else list(data)
        named = [(f"modality {k}", each) for k, each in enumerate(several)]
    if not named:
        raise DataError("there is no modality", "give at least one table of cells by features")
    tables = [
        (name, each if hasattr(each, "obs_names") else anndata.AnnData(each))
        for name, each in named
    ]
    first_name, first = tables[0]
    if not first.obs_names.is_unique:
        twice = first.obs_names[first.obs_names.duplicated()][0]
        raise DataError(
            f"cell {str(twice)!r} of {first_name} is there more than once",
            "call adata.obs_names_make_unique()",
        )
    return [first] + [_matched(each, name, first, first_name) for name, each in tables[1:]]


def _matched(table: AnnData, name: str, first: AnnData, first_name: str) -> AnnData:
    if table.obs_names.equals(first.obs_names):
        return table
    if table.n_obs != first.n_obs:
        raise DataError(
            f"{name} has {counted(table.n_obs, 'cell')} and {first_name} has {first.n_obs:,}",
            "give modalities of the same cells, such as adata[common] of each",
        )
    at = table.obs_names.get_indexer(first.obs_names) if table.obs_names.is_unique else None
    if at is None or (at < 0).any():
        lacking = 0 if at is None else int(np.flatnonzero(at < 0)[0])
        raise DataError(
            f"{name} has no cell {str(first.obs_names[lacking])!r}, or has it twice, unlike "
            f"{first_name}",
            "give modalities of the same cells under the same names",
        )
    return table[at]


def gather(data: Any, config: DataConfig | None = None, *, seed: int = 0) -> TrainingData:  # noqa: ANN401
    """Prepare data for training; `gather_job`, drained."""
    return run(gather_job(data, config, seed=seed), bar=False)


def gather_job(
    data: Any,  # noqa: ANN401
    config: DataConfig | None = None,
    *,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> Job[TrainingData]:
    """Prepare data for training: match cells, split them, fit on training cells, transform all.

    Parameters
    ----------
    data
        What `modalities_of` takes.
    config
        Which modalities are what, and how they are prepared; None for the defaults.
    seed
        Seed of the split and of what is drawn to fit on.
    preprocessing
        One that is fitted, such as of the model that training goes on with; None fits one.

    Raises
    ------
    ConfigError
        If a modality is named that is not there, or nothing is left to see or to tell.
    MissingKeyError
        If a column of obs is not there.
    DataError
        If modalities have different cells, or cannot be prepared; see `Preprocessing.fit_job`.
    """
    config = DataConfig() if config is None else config
    tables = modalities_of(data)
    inputs, targets = roles(len(tables), config)
    obs = [obs_of(each) for each in (*tables, *([data] if hasattr(data, "mod") else ()))]
    obs_names = tuple(map(str, tables[0].obs_names))
    partition, partition_names = partitions_of(obs, config.partition_cols, len(obs_names))
    train, notes = training_cells(obs, config, partition, partition_names, seed)
    if preprocessing is None:
        preprocessing = Preprocessing(
            config.sample_counts, config.log_modalities, config.pca_dim,
            top_variant=config.top_variant, spatial=config.spatial, seed=seed,
        )  # fmt: skip
        yield from preprocessing.fit_job(tables, train)
    features = yield from preprocessing.transform_job(tables)
    return TrainingData(
        tuple(torch.from_numpy(each) for each in features),
        preprocessing, inputs, targets, tuple(sorted(set(config.spatial))), partition,
        partition_names, train, obs_names, tuple(each.names for each in preprocessing.maps),
        tuple(notes),
    )  # fmt: skip


def roles(n_modalities: int, config: DataConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which modalities are seen, and which are told; rising.

    All are told unless some are named; those that are not told are seen, or all where all are
    told, unless some are named.

    Raises
    ------
    ConfigError
        If one is not there, or none is seen or told.
    """
    every = range(n_modalities)
    for what in ("input_modalities", "target_modalities", "spatial", "log_modalities"):
        check_indices(getattr(config, what) or (), n_modalities, what)
    told = config.target_modalities
    targets = tuple(every) if told is None else tuple(sorted(set(told)))
    rest = tuple(k for k in every if k not in targets) or tuple(every)
    seen = config.input_modalities
    inputs = rest if seen is None else tuple(sorted(set(seen)))
    for chosen, what in ((inputs, "input_modalities"), (targets, "target_modalities")):
        if not chosen:
            raise ConfigError(f"{what} is empty", "name at least one modality, or leave it out")
    return inputs, targets
