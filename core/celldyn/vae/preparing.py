"""Reading a data set as the model's input, as it was set up, or as a query to such a setup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.genes import matrix_of
from celldyn.data.words import counted, listed
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, run
from celldyn.vae.config import KeysConfig
from celldyn.vae.counts import HeldCounts, counts_job, totals_job
from celldyn.vae.covariates import CellTable, groups_of, numbers_of, size_factors_of
from celldyn.vae.inputs import Csr, Floats, Modality, VAEInputs
from celldyn.vae.matching import Source, matched, placed, places_of
from celldyn.vae.roles import PARAMETERS
from celldyn.vae.setup import Setup, describe_anndata, describe_mudata

if TYPE_CHECKING:
    from anndata import AnnData


def prepare(
    adata: AnnData, config: KeysConfig | None = None, setup: Setup | None = None
) -> VAEInputs:
    """Read an AnnData; `prepare_job`, drained."""
    return run(prepare_job(adata, config, setup), bar=False)


def prepare_job(
    adata: AnnData, config: KeysConfig | None = None, setup: Setup | None = None
) -> Job[VAEInputs]:
    """Read an AnnData as the model's input; nothing is written.

    The columns are read at once, the matrix as the job runs. Afterwards the AnnData may change in
    all but one way: a matrix of counts in memory is not copied, so that it may be replaced, and
    must not be written into.

    Parameters
    ----------
    adata
        (n_obs, n_vars), in memory or backed.
    config
        The keys; not read where a setup is given.
    setup
        That of a model: features are matched to its by name, and categories that it does not know
        come after its own.

    Raises
    ------
    ConfigError, MissingKeyError, DataError
        As `setup_anndata`; DataError also if a value is no raw count, no cell has any, or too few
        features are those of the setup.
    """
    if setup is None:
        own = describe_anndata(adata, config or KeysConfig())
        return _prepare(CellTable.of_anndata(adata), own, own.notes, [_own(adata, own)])
    if len(setup.modalities) > 1:
        raise ConfigError(
            f"the setup has the modalities {listed(each.name for each in setup.modalities)}",
            "give a MuData that has them",
        )
    _check_cells(adata.n_obs)
    source, notes = matched(adata, setup.modalities[0], None)
    return _prepare(CellTable.of_anndata(adata), setup, notes, [source])


def _own(adata: AnnData, setup: Setup) -> Source:
    only = setup.modalities[0]
    return Source(only, matrix_of(adata, only.layer), None, None)


def prepare_mudata(
    mdata: Any,  # noqa: ANN401
    setup: Setup | KeysConfig,
    *,
    modalities: Sequence[str] | Mapping[str, str] | None = None,
    layers: Mapping[str, str | None] | str | None = None,
) -> VAEInputs:
    """Read a MuData; `prepare_mudata_job`, drained."""
    job = prepare_mudata_job(mdata, setup, modalities=modalities, layers=layers)
    return run(job, bar=False)


def prepare_mudata_job(
    mdata: Any,  # noqa: ANN401
    setup: Setup | KeysConfig,
    *,
    modalities: Sequence[str] | Mapping[str, str] | None = None,
    layers: Mapping[str, str | None] | str | None = None,
) -> Job[VAEInputs]:
    """Read a MuData as the model's input; nothing is written.

    The cells are those of `mdata.obs`, in its order; one that a modality lacks is not present
    there.

    Parameters
    ----------
    mdata
        As `setup_mudata` takes it.
    setup
        That of a model, or the keys alone.
    modalities, layers
        As `setup_mudata` takes them; not read where a setup is given.

    Raises
    ------
    ConfigError, MissingKeyError, DataError
        As `prepare_job`.
    """
    is_query = isinstance(setup, Setup)
    if not isinstance(setup, Setup):
        setup = describe_mudata(mdata, modalities, setup, layers)
    cells = mdata.obs.index
    _check_cells(len(cells))
    notes = () if is_query else setup.notes
    sources = []
    for each in setup.modalities:
        if each.key not in mdata.mod:
            notes = (*notes, f"No cell was measured in {each.name}, which the model knows.")
            sources.append(Source(each, None, None, None))
            continue
        adata = mdata.mod[each.key]
        source, more = matched(adata, each, places_of(adata, cells, each.name))
        sources.append(source)
        notes = (*notes, *more)
    there = [each.key for each in setup.modalities if each.key in mdata.mod]
    return _prepare(CellTable.of_mudata(mdata, there), setup, notes, sources)


def _check_cells(n_obs: int) -> None:
    if not n_obs:
        raise DataError("the data set has no cells", "check the filters that were applied to it")


def _prepare(
    table: CellTable, setup: Setup, notes: tuple[str, ...], sources: list[Source]
) -> Job[VAEInputs]:
    """Read the columns now, and return the job that reads the matrices."""
    roles = setup.roles
    held = {
        key: groups_of(table, key, role, setup.categories.get(key, ()))
        for key, role in roles.categorical().items()
    }
    for groups in held.values():
        new = setup.new_categories(groups)
        if new:
            notes = (*notes, f"obs[{groups.key!r}] has new categories: {listed(new)}.")
    parts: dict[str, Any] = {
        part: tuple(held[key] for key in getattr(roles, part))
        for part in ("ambient", "scaling", "conditioning", "encoder")
    }
    parts |= {"dispersion": held[roles.dispersion], "library": held[roles.library]}
    parts |= {"batch": None if roles.batch is None else held[roles.batch]}
    parts |= {"continuous": _continuous(table, roles.continuous)}
    parts |= {"continuous_keys": roles.continuous}
    if roles.size_factor is not None:
        parts["size_factor"] = size_factors_of(table, roles.size_factor)
    return _read_job(sources, len(table.cells), parts, notes)


def _continuous(table: CellTable, keys: tuple[str, ...]) -> Floats | None:
    if not keys:
        return None
    return np.column_stack([numbers_of(table, key, PARAMETERS["continuous"]) for key in keys])


def _read_job(
    sources: list[Source], n_obs: int, parts: dict[str, Any], notes: tuple[str, ...]
) -> Job[VAEInputs]:
    modalities = []
    for source in sources:
        modality = yield from _modality_job(source, n_obs)
        modalities.append(modality)
    if not any(each.present.any() for each in modalities):
        raise DataError("no cell has any count", "name the layer that holds the raw counts")
    return VAEInputs(
        modalities=tuple(modalities), **parts, notes=(*notes, *_empty_cells(modalities))
    )


def _modality_job(source: Source, n_obs: int) -> Job[Modality]:
    name, features = source.setup.name, source.setup.features
    if source.matrix is None:
        empty = Csr(
            np.zeros(n_obs + 1, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            len(features),
        )
        return Modality(
            name, features, HeldCounts(empty), np.zeros(n_obs, np.bool_), np.zeros(n_obs)
        )
    place = "X" if source.setup.layer is None else f"layers[{source.setup.layer!r}]"
    where = f"{place} of {name}" if source.setup.key else place
    counts = placed((yield from counts_job(source.matrix, where)), source, n_obs)
    totals: NDArray[np.float64] = yield from totals_job(counts)
    if not totals.any():
        raise DataError(
            f"{where} holds nothing but zeros", "name the layer that holds the raw counts"
        )
    return Modality(name, features, counts, totals > 0, totals)


def _empty_cells(modalities: Sequence[Modality]) -> tuple[str, ...]:
    """Say how many cells have no counts at all, and in which modality some are absent."""
    present = np.logical_or.reduce([each.present for each in modalities])
    n_empty = int(np.count_nonzero(~present))
    notes = []
    if n_empty:
        notes.append(
            f"{counted(n_empty, 'cell')} without any count: the total counts as 1 (log 0), and "
            "the latent position says nothing; leave them out if they are many."
        )
    if len(modalities) > 1:
        for each in modalities:
            n_absent = int(np.count_nonzero(present & ~each.present))
            if n_absent and each.present.any():
                notes.append(f"{counted(n_absent, 'cell')} not measured in {each.name}.")
    return tuple(notes)
